//! What a failure of the database is to a caller.

use std::time::Duration;

use service_error::ErrorKind;

/// A database that failed over is back by then.
const RETRY_AFTER: Duration = Duration::from_secs(2);

pub fn kind(error: &pg::Error) -> ErrorKind {
    if error.is_transient() { ErrorKind::Unavailable } else { ErrorKind::Internal }
}

pub fn reason(error: &pg::Error) -> &'static str {
    if error.is_transient() { "database_unavailable" } else { "internal" }
}

pub fn retry_after(error: &pg::Error) -> Option<Duration> {
    error.is_transient().then_some(RETRY_AFTER)
}
