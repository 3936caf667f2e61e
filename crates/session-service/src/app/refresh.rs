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
    domain::{
        device::Device,
        refresh_line::Verdict,
        session::{REUSE, Session},
    },
    state::App,
};

pub struct Refresh {
    pub token: String,
    pub device: Device,
    pub client: Client,
}

/// Whose session it was.
#[derive(Debug, Clone, Copy)]
pub struct Owner {
    user_id: UserId,
    session_id: SessionId,
}

#[derive(Debug, thiserror::Error)]
pub enum RefreshError {
    #[error("the refresh token is not one of ours")]
    InvalidToken,
    #[error("the refresh token was used before")]
    Reused(Owner),
    #[error("the session has ended")]
    Ended { stolen_from: Option<Owner> },
    #[error("tokens cannot be issued")]
    Issue(#[from] IssueError),
    #[error("the session cannot be read or stored")]
    Database(#[from] pg::Error),
}

pg::leaves_transactions!(RefreshError);

impl Owner {
    fn of(session: &Session) -> Self {
        Self { user_id: session.user_id, session_id: session.id }
    }
}

impl ServiceError for RefreshError {
    fn kind(&self) -> ErrorKind {
        match self {
            Self::InvalidToken | Self::Reused(_) | Self::Ended { .. } => ErrorKind::Unauthenticated,
            Self::Issue(error) => error.kind(),
            Self::Database(error) => database_error::kind(error),
        }
    }

    fn reason(&self) -> &'static str {
        match self {
            Self::InvalidToken => "refresh_token_invalid",
            Self::Reused(_) => REUSE,
            Self::Ended { .. } => "session_ended",
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

    /// Whom a session was stolen from; the caller tells them, and hears it again should the first answer have been lost.
    fn metadata(&self) -> Vec<(&'static str, String)> {
        match self {
            Self::Reused(owner) | Self::Ended { stolen_from: Some(owner) } => {
                vec![("user_id", owner.user_id.to_string()), ("session_id", owner.session_id.to_string())]
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
            Err(RefreshError::Reused(Owner::of(&session)))
        }
        Outcome::Ended(session) => {
            let stolen = session.filter(|session| session.was_stolen());
            Err(RefreshError::Ended { stolen_from: stolen.as_deref().map(Owner::of) })
        }
    }
}

fn label(result: &Result<Outcome, RefreshError>) -> &'static str {
    match result {
        Ok(Outcome::Issued(Verdict::Repeat, _)) => "repeated",
        Ok(Outcome::Issued(Verdict::Replace, _)) => "replaced",
        Ok(Outcome::Issued(..)) => "rotated",
        Ok(Outcome::Reused(_)) => "reused",
        Ok(Outcome::Ended(_)) => "ended",
        Err(RefreshError::InvalidToken) => "invalid",
        Err(_) => "error",
    }
}
