//! A user's own sessions: what there are, and their end.

use std::{borrow::Cow, time::Duration};

use auth_events::Client;
use auth_ids::SessionId;
use service_error::{ErrorKind, ServiceError};
use session_verifier::Session;

use crate::{
    app::dependency::DependencyError,
    clients::sessions::{DeviceSession, SessionsError},
    state::AppState,
};

/// Why a session is not ended.
#[derive(Debug, thiserror::Error)]
pub enum OwnSessionError {
    /// There is none, or it is somebody else's.
    #[error("the user has no such session")]
    NotFound,
    /// See [`DependencyError`].
    #[error(transparent)]
    Dependency(DependencyError),
}

impl ServiceError for OwnSessionError {
    fn kind(&self) -> ErrorKind {
        match self {
            Self::NotFound => ErrorKind::NotFound,
            Self::Dependency(error) => error.kind(),
        }
    }

    fn reason(&self) -> &'static str {
        match self {
            Self::NotFound => "session_not_found",
            Self::Dependency(error) => error.reason(),
        }
    }

    fn public_detail(&self) -> Cow<'static, str> {
        match self {
            Self::NotFound => "You have no such session.".into(),
            Self::Dependency(error) => error.public_detail(),
        }
    }

    fn retry_after(&self) -> Option<Duration> {
        match self {
            Self::NotFound => None,
            Self::Dependency(error) => error.retry_after(),
        }
    }
}

/// The live sessions of whoever `caller` is, the newest first.
pub async fn list(state: &AppState, caller: &Session) -> Result<Vec<DeviceSession>, DependencyError> {
    Ok(state.sessions.list(caller.user_id()).await?)
}

/// Ends one of them.
pub async fn end(
    state: &AppState,
    caller: &Session,
    session: SessionId,
    client: &Client,
) -> Result<(), OwnSessionError> {
    let reason = if session == caller.session_id() { "logout" } else { "revoked_by_user" };
    match state.sessions.revoke_own(session, caller.user_id(), reason, client).await {
        Ok(_) => Ok(()),
        Err(SessionsError::Refused { .. }) => Err(OwnSessionError::NotFound),
        Err(error) => Err(OwnSessionError::Dependency(error.into())),
    }
}

/// Ends all of them, or all but the one that asks; how many.
pub async fn end_all(
    state: &AppState,
    caller: &Session,
    except_current: bool,
    client: &Client,
) -> Result<u32, DependencyError> {
    let kept = except_current.then_some(caller.session_id());
    Ok(state.sessions.revoke_all(caller.user_id(), kept, "logout_all", client).await?)
}
