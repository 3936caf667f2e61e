//! What happened in one's own account.

use std::{borrow::Cow, time::Duration};

use service_error::{ErrorKind, ServiceError};
use session_verifier::Session;

use crate::{
    app::dependency::DependencyError,
    clients::audit::{Activity, AuditError},
    state::AppState,
};

/// Why it cannot be shown.
#[derive(Debug, thiserror::Error)]
pub enum ActivityError {
    /// The cursor did not come from here.
    #[error("the cursor is not good")]
    BadCursor,
    /// See [`DependencyError`].
    #[error(transparent)]
    Dependency(#[from] DependencyError),
}

impl ServiceError for ActivityError {
    fn kind(&self) -> ErrorKind {
        match self {
            Self::BadCursor => ErrorKind::Malformed,
            Self::Dependency(error) => error.kind(),
        }
    }

    fn reason(&self) -> &'static str {
        match self {
            Self::BadCursor => "cursor_invalid",
            Self::Dependency(error) => error.reason(),
        }
    }

    fn public_detail(&self) -> Cow<'static, str> {
        match self {
            Self::BadCursor => "The cursor is not valid. Begin again without one.".into(),
            Self::Dependency(error) => error.public_detail(),
        }
    }

    fn retry_after(&self) -> Option<Duration> {
        match self {
            Self::BadCursor => None,
            Self::Dependency(error) => error.retry_after(),
        }
    }
}

/// A page of what happened to whoever `caller` is, the newest first, and where to go on.
pub async fn activity(
    state: &AppState,
    caller: &Session,
    cursor: Option<&str>,
    limit: u32,
) -> Result<(Vec<Activity>, Option<String>), ActivityError> {
    state.audit.activity(caller.user_id(), cursor, limit).await.map_err(|error| match error {
        AuditError::BadCursor => ActivityError::BadCursor,
        error => ActivityError::Dependency(error.into()),
    })
}
