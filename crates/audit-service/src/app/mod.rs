//! What can be done with the log.

mod get;
mod personal;
mod record;
mod search;

use personal::PersonalData;
use sealing::KeyRing;
use service_error::ErrorKind;

pub use get::GetError;
pub use record::{Fate, Recording};
pub use search::{Page, SearchError};

/// The audit log. Clones are the same log.
#[derive(Clone)]
pub struct AuditLog {
    database: pg::Database,
    cursor_keys: KeyRing,
    personal: PersonalData,
}

impl AuditLog {
    #[must_use]
    pub fn new(database: pg::Database, cursor_keys: KeyRing, personal_keys: KeyRing) -> Self {
        Self { database, cursor_keys, personal: PersonalData::new(personal_keys) }
    }
}

fn database_error_kind(error: &pg::Error) -> ErrorKind {
    if error.is_transient() { ErrorKind::Unavailable } else { ErrorKind::Internal }
}

fn database_error_reason(error: &pg::Error) -> &'static str {
    if error.is_transient() { "unavailable" } else { "internal" }
}
