//! What the failures of dependencies have in common, whichever use case they hit.

use service_error::ErrorKind;

/// Whose fault a failure of the database is.
pub(super) fn database_kind(error: &pg::Error) -> ErrorKind {
    if error.is_transient() { ErrorKind::Unavailable } else { ErrorKind::Internal }
}

/// Its stable code.
pub(super) fn database_reason(error: &pg::Error) -> &'static str {
    if error.is_transient() { "database_unavailable" } else { "internal" }
}

/// The code of a broker that is away.
pub(super) const BROKER_UNAVAILABLE: &str = "broker_unavailable";
