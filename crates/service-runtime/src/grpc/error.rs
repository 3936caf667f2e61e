use service_error::{ErrorKind, ServiceError};

/// What a call can fail with before or around the service's own code.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub(super) enum CallError {
    #[error("the caller may not call this method")]
    CallerNotAllowed,
    #[error("the deadline passed")]
    DeadlineExceeded,
    #[error("the method panicked")]
    Panicked,
}

impl ServiceError for CallError {
    fn kind(&self) -> ErrorKind {
        match self {
            Self::CallerNotAllowed => ErrorKind::Forbidden,
            Self::DeadlineExceeded => ErrorKind::DeadlineExceeded,
            Self::Panicked => ErrorKind::Internal,
        }
    }

    fn reason(&self) -> &'static str {
        match self {
            Self::CallerNotAllowed => "caller_not_allowed",
            Self::DeadlineExceeded => "deadline_exceeded",
            Self::Panicked => "internal",
        }
    }
}
