//! Exchanges a refresh token for a new pair.

mod exchange;

use std::time::Duration;

use auth_events::Client;
use auth_ids::{SessionId, UserId};
use exchange::{Outcome, exchange};
use service_error::{ErrorKind, ServiceError};
use tracing::{info, warn};

use super::{IssueError, Issued, database_error};
use crate::{
    domain::{device::Device, refresh_line::Verdict},
    state::App,
};

pub struct Refresh {
    pub token: String,
    pub device: Device,
    pub client: Client,
}

#[derive(Debug, thiserror::Error)]
pub enum RefreshError {
    #[error("the refresh token is not one of ours")]
    InvalidToken,
    #[error("the refresh token was used before")]
    Reused { user_id: UserId, session_id: SessionId },
    #[error("the session has ended")]
    Ended,
    #[error("tokens cannot be issued")]
    Issue(#[from] IssueError),
    #[error("the session cannot be read or stored")]
    Database(#[from] pg::Error),
}

pg::leaves_transactions!(RefreshError);

impl ServiceError for RefreshError {
    fn kind(&self) -> ErrorKind {
        match self {
            Self::InvalidToken | Self::Reused { .. } | Self::Ended => ErrorKind::Unauthenticated,
            Self::Issue(error) => error.kind(),
            Self::Database(error) => database_error::kind(error),
        }
    }

    fn reason(&self) -> &'static str {
        match self {
            Self::InvalidToken => "refresh_token_invalid",
            Self::Reused { .. } => "refresh_token_reused",
            Self::Ended => "session_ended",
            Self::Issue(error) => error.reason(),
            Self::Database(error) => database_error::reason(error),
        }
    }

    fn retry_after(&self) -> Option<Duration> {
        match self {
            Self::Database(error) => database_error::retry_after(error),
            _ => None,
        }
    }

    /// Whose token it was; the caller tells the owner.
    fn metadata(&self) -> Vec<(&'static str, String)> {
        match self {
            Self::Reused { user_id, session_id } => {
                vec![("user_id", user_id.to_string()), ("session_id", session_id.to_string())]
            }
            _ => Vec::new(),
        }
    }
}

/// Exchanges a refresh token. Honest retries get the same answer again; a token that nobody honest still holds ends the session.
#[tracing::instrument(name = "app.sessions.refresh", skip_all)]
pub async fn refresh(app: &App, request: Refresh) -> Result<Issued, RefreshError> {
    let result = exchange(app, &request).await;
    app.metrics.refreshes.with_label_values(&[label(&result)]).inc();
    match result? {
        Outcome::Issued(_, issued) => {
            let session = &issued.session;
            info!(session.id = %session.id, "Refreshed session {} to generation {}", session.id, session.line.generation);
            Ok(*issued)
        }
        Outcome::Reused(session) => {
            warn!(
                session.id = %session.id,
                "Revoked session {} of user {}: a spent refresh token came back", session.id, session.user_id
            );
            Err(RefreshError::Reused { user_id: session.user_id, session_id: session.id })
        }
        Outcome::Ended => Err(RefreshError::Ended),
    }
}

fn label(result: &Result<Outcome, RefreshError>) -> &'static str {
    match result {
        Ok(Outcome::Issued(Verdict::Repeat, _)) => "repeated",
        Ok(Outcome::Issued(Verdict::Replace, _)) => "replaced",
        Ok(Outcome::Issued(..)) => "rotated",
        Ok(Outcome::Reused(_)) => "reused",
        Ok(Outcome::Ended) => "ended",
        Err(RefreshError::InvalidToken) => "invalid",
        Err(_) => "error",
    }
}
