//! Exchanges a refresh token for new tokens.

use std::{borrow::Cow, time::Duration};

use auth_events::Client;
use service_error::{ErrorKind, ServiceError};

use crate::{
    app::dependency::DependencyError,
    clients::sessions::{IssuedTokens, SessionsError},
    state::AppState,
};

/// Why there are no new tokens.
#[derive(Debug, thiserror::Error)]
pub enum RefreshError {
    /// The token is not one of ours, is spent, or its session has ended.
    #[error("the refresh token is not good: {0}")]
    Refused(String),
    /// See [`DependencyError`].
    #[error(transparent)]
    Dependency(#[from] DependencyError),
}

impl ServiceError for RefreshError {
    fn kind(&self) -> ErrorKind {
        match self {
            Self::Refused(_) => ErrorKind::Unauthenticated,
            Self::Dependency(error) => error.kind(),
        }
    }

    fn reason(&self) -> &'static str {
        match self {
            Self::Refused(reason) if reason == "refresh_token_reused" => "refresh_reused",
            Self::Refused(_) => "invalid_token",
            Self::Dependency(error) => error.reason(),
        }
    }

    fn public_detail(&self) -> Cow<'static, str> {
        match self {
            Self::Refused(_) => "The session is over. Log in again.".into(),
            Self::Dependency(error) => error.public_detail(),
        }
    }

    fn retry_after(&self) -> Option<Duration> {
        match self {
            Self::Refused(_) => None,
            Self::Dependency(error) => error.retry_after(),
        }
    }
}

/// Exchanges `refresh_token`; session-service decides, and writes the audit event.
pub async fn refresh(
    state: &AppState,
    refresh_token: &str,
    client: &Client,
) -> Result<IssuedTokens, RefreshError> {
    let tokens = state.sessions.refresh(refresh_token, client).await.map_err(|error| match error {
        SessionsError::Refused { reason, .. } => RefreshError::Refused(reason),
        error => RefreshError::Dependency(error.into()),
    })?;
    state.metrics.refresh_success.inc();
    Ok(tokens)
}
