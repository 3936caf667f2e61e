//! What can be done with the log.

mod get;
mod record;
mod search;

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
}

impl AuditLog {
    #[must_use]
    pub fn new(database: pg::Database, cursor_keys: KeyRing) -> Self {
        Self { database, cursor_keys }
    }
}

fn database_error_kind(error: &pg::Error) -> ErrorKind {
    if error.is_transient() { ErrorKind::Unavailable } else { ErrorKind::Internal }
}

fn database_error_reason(error: &pg::Error) -> &'static str {
    if error.is_transient() { "unavailable" } else { "internal" }
}
