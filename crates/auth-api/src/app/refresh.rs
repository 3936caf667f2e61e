//! Exchanges a refresh token for new tokens.

use std::{borrow::Cow, time::Duration};

use auth_events::{Client, commands::MailParameters};
use auth_ids::{SessionId, UserId};
use diesel_async::AsyncConnection;
use service_error::{ErrorKind, ServiceError};

use crate::{
    app::{dependency::DependencyError, notices},
    clients::sessions::{IssuedTokens, SessionsError},
    state::AppState,
    store::{stolen_sessions, users},
};

/// What session-service says of a token that was used before, and whose session it ended for that.
const REUSED: &str = "refresh_token_reused";

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
            Self::Refused(reason) if reason == REUSED => "refresh_reused",
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
    match state.sessions.refresh(refresh_token, client).await {
        Ok(tokens) => {
            state.metrics.refresh_success.inc();
            Ok(tokens)
        }
        Err(SessionsError::Refused { reason, user_id, session_id }) => {
            if let (Some(user), Some(session)) = (user_id, session_id) {
                tell_owner(state, user, session, client).await;
            }
            Err(RefreshError::Refused(reason))
        }
        Err(error) => Err(RefreshError::Dependency(error.into())),
    }
}

/// Tells the owner that a refresh token came back which nobody honest could still hold, once a session. Whoever holds it gets the same answer whether or
/// not that works; if it does not, the next token of the session that comes back is another chance.
async fn tell_owner(state: &AppState, user: UserId, session: SessionId, client: &Client) {
    match write_to_owner(state, user, session, client).await {
        Ok(()) => state.outbox.wake(),
        Err(error) => {
            tracing::error!(user.id = %user, "User {user} is not told that a session was stolen: {error}");
        }
    }
}

async fn write_to_owner(
    state: &AppState,
    user: UserId,
    session: SessionId,
    client: &Client,
) -> Result<(), DependencyError> {
    let mut conn = state.database.connection().await?;
    conn.transaction(async |conn| {
        let Some(user) = users::find(conn, user).await? else { return Ok(()) };
        if !stolen_sessions::note_told(conn, session, user.id, state.clock.now()).await? {
            return Ok(());
        }
        let parameters = MailParameters::SessionStolen {
            display_name: user.display_name.clone(),
            secure_link: notices::secure_link(conn, state, &user).await?,
            occasion: notices::occasion(state, client),
        };
        notices::send(conn, state, &user, &parameters).await
    })
    .await
}
