use service_error::{ErrorKind, ServiceError};

/// Why a stream does not begin, or ends before its end.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum StreamError {
    #[error("there are too many streams")]
    TooMany,
    #[error("the follower does not keep up")]
    TooSlow,
    #[error("this replica stops")]
    Stopping,
}

impl ServiceError for StreamError {
    fn kind(&self) -> ErrorKind {
        match self {
            Self::TooMany => ErrorKind::TooManyRequests,
            Self::TooSlow | Self::Stopping => ErrorKind::Unavailable,
        }
    }

    fn reason(&self) -> &'static str {
        match self {
            Self::TooMany => "too_many_streams",
            Self::TooSlow => "tail_too_slow",
            Self::Stopping => "stopping",
        }
    }
}
