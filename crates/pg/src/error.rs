use diesel::result::{DatabaseErrorKind, Error as DieselError};

/// The result of a store function.
pub type Result<T, E = Error> = std::result::Result<T, E>;

/// What went wrong in the database, by what a caller can do about it.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// No connection could be had, or it was lost; the work may be tried again later.
    #[error("PostgreSQL is not available")]
    Unavailable(#[source] Box<dyn std::error::Error + Send + Sync>),
    /// No connection of the pool became free in time.
    #[error("no PostgreSQL connection became free in time")]
    PoolExhausted,
    /// The statement, or a lock that it waits for, took longer than its limit.
    #[error("PostgreSQL took too long")]
    Timeout(#[source] diesel::result::Error),
    /// A unique constraint holds the row off.
    #[error("unique constraint {constraint} is violated")]
    UniqueViolation {
        /// The constraint's name.
        constraint: String,
        #[doc(hidden)]
        #[source]
        source: diesel::result::Error,
    },
    /// Anything else is a defect.
    #[error("the query failed")]
    Query(#[source] diesel::result::Error),
}

impl Error {
    /// Whether trying again later may help.
    #[must_use]
    pub fn is_transient(&self) -> bool {
        matches!(self, Self::Unavailable(_) | Self::PoolExhausted | Self::Timeout(_))
    }

    /// Whether the unique constraint `name` was violated.
    #[must_use]
    pub fn violates(&self, name: &str) -> bool {
        matches!(self, Self::UniqueViolation { constraint, .. } if constraint == name)
    }
}

impl From<DieselError> for Error {
    fn from(error: DieselError) -> Self {
        match &error {
            DieselError::DatabaseError(DatabaseErrorKind::UniqueViolation, details) => {
                Self::UniqueViolation {
                    constraint: details.constraint_name().unwrap_or_default().to_owned(),
                    source: error,
                }
            }
            _ => match Class::of(&error) {
                Class::Unavailable => Self::Unavailable(error.into()),
                Class::Timeout => Self::Timeout(error),
                Class::Defect => Self::Query(error),
            },
        }
    }
}

/// The classes of errors that are no violation.
#[derive(Clone, Copy)]
enum Class {
    Unavailable,
    Timeout,
    Defect,
}

/// Beginnings of messages by class. Diesel does not let the SQLSTATE through (its `DatabaseErrorInformation` has no place for it),
/// so the message has to tell. `bootstrap` sets `lc_messages` for the application role, and a server that speaks another
/// language nevertheless only costs the difference between 503 and 500.
const MESSAGES: &[(&str, Class)] = &[
    // 57014 query_canceled, 55P03 lock_not_available, 40P01 deadlock_detected
    ("canceling statement due to", Class::Timeout),
    ("could not obtain lock on", Class::Timeout),
    ("deadlock detected", Class::Timeout),
    // 57P01 admin_shutdown, 57P02 crash_shutdown, 57P05 idle_session_timeout, 25P03 idle_in_transaction_session_timeout
    ("terminating connection", Class::Unavailable),
    ("terminating background worker", Class::Unavailable),
    // 57P03 cannot_connect_now
    ("the database system is", Class::Unavailable),
    // 53300 too_many_connections
    ("sorry, too many clients already", Class::Unavailable),
    ("remaining connection slots are reserved", Class::Unavailable),
    ("too many connections for", Class::Unavailable),
    // 53100 disk_full, 53200 out_of_memory
    ("could not extend file", Class::Unavailable),
    ("could not write to file", Class::Unavailable),
    ("out of memory", Class::Unavailable),
    ("out of shared memory", Class::Unavailable),
    // 08P01 of PgBouncer, which has lost its server
    ("server conn crashed", Class::Unavailable),
    ("server closed the connection", Class::Unavailable),
    ("query_wait_timeout", Class::Unavailable),
];

impl Class {
    fn of(error: &DieselError) -> Self {
        match error {
            // A server that refuses to write is a replica, or a primary that was just demoted: the next connection finds the new one.
            DieselError::DatabaseError(
                DatabaseErrorKind::UnableToSendCommand
                | DatabaseErrorKind::ClosedConnection
                | DatabaseErrorKind::ReadOnlyTransaction,
                _,
            )
            | DieselError::BrokenTransactionManager => Self::Unavailable,
            DieselError::DatabaseError(DatabaseErrorKind::Unknown, details) => {
                Self::of_message(details.message())
            }
            // Which of the two noticed first that the connection is gone is chance.
            DieselError::RollbackErrorOnCommit { rollback_error, commit_error } => {
                match Self::of(rollback_error) {
                    Self::Defect => Self::of(commit_error),
                    class => class,
                }
            }
            _ => Self::Defect,
        }
    }

    fn of_message(message: &str) -> Self {
        MESSAGES
            .iter()
            .find(|(beginning, _)| message.starts_with(beginning))
            .map_or(Self::Defect, |(_, class)| *class)
    }
}

/// Lets an error type with a variant `Database(#[from] pg::Error)` leave a diesel-async `transaction` closure.
#[macro_export]
macro_rules! leaves_transactions {
    ($($error:ty),+ $(,)?) => {$(
        impl From<diesel::result::Error> for $error {
            fn from(error: diesel::result::Error) -> Self {
                Self::Database($crate::Error::from(error))
            }
        }
    )+};
}

#[cfg(test)]
mod tests {
    use super::*;

    fn database_error(kind: DatabaseErrorKind, message: &str) -> DieselError {
        DieselError::DatabaseError(kind, Box::new(message.to_owned()))
    }

    #[test]
    fn a_connection_lost_around_the_commit_is_no_defect() {
        let terminated = || {
            database_error(DatabaseErrorKind::Unknown, "terminating connection due to administrator command")
        };
        let closed = || database_error(DatabaseErrorKind::ClosedConnection, "connection closed");
        let unsendable = || database_error(DatabaseErrorKind::UnableToSendCommand, "connection closed");
        let serialization = || database_error(DatabaseErrorKind::SerializationFailure, "could not serialize");
        let on_commit = |commit_error, rollback_error| DieselError::RollbackErrorOnCommit {
            rollback_error: Box::new(rollback_error),
            commit_error: Box::new(commit_error),
        };
        for error in [
            closed(),
            unsendable(),
            terminated(),
            on_commit(serialization(), closed()),
            on_commit(serialization(), unsendable()),
            on_commit(serialization(), terminated()),
            on_commit(closed(), DieselError::BrokenTransactionManager),
            on_commit(terminated(), DieselError::NotInTransaction),
        ] {
            let error = Error::from(error);
            assert!(matches!(error, Error::Unavailable(_)), "{error:?}");
        }
        let error = Error::from(on_commit(serialization(), DieselError::NotInTransaction));
        assert!(matches!(error, Error::Query(_)), "{error:?}");
    }
}
