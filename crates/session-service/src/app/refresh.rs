//! Exchanges a refresh token for a new pair.

use std::time::Duration;

use auth_events::Client;
use auth_ids::{GenericUuid, SessionId, UserId};
use diesel_async::AsyncConnection;
use pg::AsyncPgConnection;
use service_error::{ErrorKind, ServiceError};
use tracing::{info, warn};

use super::{IssueError, Issued, database_error, facts};
use crate::{
    domain::{
        device::Device,
        key_set::KeySet,
        refresh_line::Verdict,
        refresh_token::{RefreshKey, RefreshToken},
        session::Session,
    },
    state::App,
    store::{sessions, subjects},
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

/// What became of a token, committed.
enum Outcome {
    Issued(Verdict, Box<Issued>),
    Reused(Box<Session>),
    Ended,
}

/// Exchanges a refresh token. Honest retries get the same answer again; a token that nobody honest still holds ends the session.
#[tracing::instrument(name = "app.sessions.refresh", skip_all)]
pub async fn refresh(app: &App, request: Refresh) -> Result<Issued, RefreshError> {
    let result = exchange(app, &request).await;
    app.metrics.refreshes.with_label_values(&[label(&result)]).inc();
    match result? {
        Outcome::Issued(_, issued) => Ok(*issued),
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

async fn exchange(app: &App, request: &Refresh) -> Result<Outcome, RefreshError> {
    let token = RefreshToken::parse(&request.token).ok_or(RefreshError::InvalidToken)?;
    // Before a connection is held, because loading keys takes one too.
    let keys = app.keys.for_signing().await;
    let refresh_key = prove(app, &token).await?;
    let _turn = app.turns.take(token.session.into_untyped_uuid()).await;
    let mut conn = app.database.connection().await?;
    let outcome =
        conn.transaction(async |conn| answer(app, conn, &token, &refresh_key, &keys, request).await).await?;
    app.wake.wake();
    Ok(outcome)
}

/// Checks the token's MAC and gives the key it was made with. Reads without a lock: who forges a token can neither write nor make
/// the owner wait.
async fn prove(app: &App, token: &RefreshToken) -> Result<RefreshKey, RefreshError> {
    let mut conn = app.database.connection().await?;
    let session = sessions::find(&mut conn, token.session).await?.ok_or(RefreshError::InvalidToken)?;
    let key = app.open_refresh_key(&session).map_err(IssueError::from)?;
    if key.issued(token) { Ok(key) } else { Err(RefreshError::InvalidToken) }
}

/// Decides on a token whose MAC is good, with the session's row locked.
async fn answer(
    app: &App,
    conn: &mut AsyncPgConnection,
    token: &RefreshToken,
    refresh_key: &RefreshKey,
    keys: &KeySet,
    request: &Refresh,
) -> Result<Outcome, RefreshError> {
    let locked = sessions::lock(conn, token.session).await?;
    // Only now: waiting for the lock took time.
    let now = app.now();
    let Some(session) = locked.filter(|session| session.is_live(now)) else {
        return Ok(Outcome::Ended);
    };
    let verdict = session.line.judge(token.generation, now);
    let session = match verdict {
        Verdict::Reuse => {
            sessions::revoke(conn, session.id, "refresh_token_reused", now).await?;
            let client = request.client.clone();
            let fact = facts::reuse_detected(&session, token.generation, client, &*app.clock);
            outbox::append_fact(conn, fact).await?;
            return Ok(Outcome::Reused(Box::new(session)));
        }
        Verdict::Repeat => session,
        Verdict::Rotate | Verdict::Replace => {
            let access_token_id = auth_ids::generate(&*app.clock, &mut clock::secure_rng());
            let session = session.rotate(token.generation, access_token_id, &request.device, now);
            sessions::save_rotation(conn, &session).await?;
            let fact = facts::refreshed(&session, request.client.clone(), &*app.clock);
            outbox::append_fact(conn, fact).await?;
            session
        }
    };
    let epoch = subjects::epoch(conn, session.user_id).await?;
    let signer = keys.signer(now).ok_or(IssueError::NoSigningKey)?;
    let tokens = app.tokens(&session, epoch, refresh_key, signer, now)?;
    info!(session.id = %session.id, "Refreshed session {} to generation {}", session.id, session.line.generation);
    Ok(Outcome::Issued(verdict, Box::new(Issued { session, tokens })))
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
