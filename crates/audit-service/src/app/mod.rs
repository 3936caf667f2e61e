//! What can be done with the log.

mod arrivals;
mod erase;
mod export;
mod get;
mod notary;
mod personal;
mod reading;
mod record;
mod reseal;
mod search;
mod stats;

use std::sync::Arc;

use clock::{SharedClock, SystemClock};
use personal::PersonalData;
use sealing::KeyRing;
use service_error::ErrorKind;

pub use arrivals::Arrival;
pub use erase::{EraseError, Erased, Erasure, erasing_actor};
pub use export::{ExportPart, ExportSummary};
pub use get::GetError;
pub use notary::{
    Notary, Range, RangeInvalid, Report, Retained, Retention, RetentionError, SignError, Signed, VerifyError,
};
pub use reading::Reading;
pub use record::{Fate, Recording};
pub use reseal::Resealed;
pub use search::{Page, Search, SearchError, Total};
pub use stats::Stats;

/// The audit log. Clones are the same log.
#[derive(Clone)]
pub struct AuditLog {
    database: pg::Database,
    cursor_keys: KeyRing,
    personal: PersonalData,
    clock: SharedClock,
}

impl AuditLog {
    #[must_use]
    pub fn new(database: pg::Database, cursor_keys: KeyRing, personal_keys: KeyRing) -> Self {
        let (personal, clock) = (PersonalData::new(personal_keys), Arc::new(SystemClock));
        Self { database, cursor_keys, personal, clock }
    }

    /// The same log at another time.
    #[must_use]
    pub fn with_clock(self, clock: SharedClock) -> Self {
        Self { clock, ..self }
    }
}

fn database_error_kind(error: &pg::Error) -> ErrorKind {
    if error.is_transient() { ErrorKind::Unavailable } else { ErrorKind::Internal }
}

fn database_error_reason(error: &pg::Error) -> &'static str {
    if error.is_transient() { "unavailable" } else { "internal" }
}
