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

impl From<diesel::result::Error> for Error {
    fn from(_error: diesel::result::Error) -> Self {
        todo!()
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
