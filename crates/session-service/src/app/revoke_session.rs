//! Ends a session before its time.

use std::time::Duration;

use access_tokens::{Revocation, RevocationTarget};
use auth_events::Client;
use auth_ids::{SessionId, UserId};
use diesel_async::AsyncConnection;
use pg::AsyncPgConnection;
use sealing::OpenError;
use service_error::{ErrorKind, ServiceError};
use tracing::info;

use super::{
    database_error, facts, revocation_feed::RevocationFeed, signing_keys::KeysUnavailable,
    validate::AuthenticateError,
};
use crate::{
    domain::{refresh_token::RefreshToken, session::Session},
    state::App,
    store::{revocations, sessions},
};

/// The reason with which users end their own sessions.
const LOGOUT: &str = "logout";

pub struct RevokeSession {
    pub target: Target,
    /// Only a session of this user is to be revoked.
    pub user_id: Option<UserId>,
    pub reason: String,
    /// The service that asks.
    pub caller: String,
    pub client: Client,
}

/// What names the session.
pub enum Target {
    Session(SessionId),
    /// Of any generation.
    RefreshToken(String),
    /// Expired or not.
    AccessToken(String),
}

pub struct Revoked {
    /// Whether the session was live until now.
    pub was_live: bool,
    pub session_id: SessionId,
    pub user_id: UserId,
}

#[derive(Debug, thiserror::Error)]
pub enum RevokeSessionError {
    #[error("there is no such session, or not of that user")]
    NotFound,
    #[error("the refresh token is not one of ours")]
    InvalidRefreshToken,
    #[error("the access token is not one of ours")]
    InvalidAccessToken,
    #[error(transparent)]
    Keys(#[from] KeysUnavailable),
    #[error("the session's refresh key is not one of ours")]
    RefreshKey(#[from] OpenError),
    #[error("the session cannot be read or stored")]
    Database(#[from] pg::Error),
}

pg::leaves_transactions!(RevokeSessionError);

impl From<AuthenticateError> for RevokeSessionError {
    fn from(error: AuthenticateError) -> Self {
        match error {
            AuthenticateError::Rejected(_) => Self::InvalidAccessToken,
            AuthenticateError::Keys(error) => Self::Keys(error),
        }
    }
}

impl ServiceError for RevokeSessionError {
    fn kind(&self) -> ErrorKind {
        match self {
            Self::NotFound => ErrorKind::NotFound,
            Self::InvalidRefreshToken | Self::InvalidAccessToken => ErrorKind::Unauthenticated,
            Self::Keys(error) => error.kind(),
            Self::RefreshKey(_) => ErrorKind::Internal,
            Self::Database(error) => database_error::kind(error),
        }
    }

    fn reason(&self) -> &'static str {
        match self {
            Self::NotFound => "session_not_found",
            Self::InvalidRefreshToken => "refresh_token_invalid",
            Self::InvalidAccessToken => "access_token_invalid",
            Self::Keys(error) => error.reason(),
            Self::RefreshKey(_) => "internal",
            Self::Database(error) => database_error::reason(error),
        }
    }

    fn retry_after(&self) -> Option<Duration> {
        match self {
            Self::Keys(error) => error.retry_after(),
            Self::Database(error) => database_error::retry_after(error),
            _ => None,
        }
    }
}

/// Ends a session; one that has ended already stays as it is.
#[tracing::instrument(name = "app.sessions.revoke", skip_all)]
pub async fn revoke_session(app: &App, request: RevokeSession) -> Result<Revoked, RevokeSessionError> {
    // An access token is judged before a connection is held, because its key may have to be looked for.
    let named = match &request.target {
        Target::Session(id) => Named::Id(*id),
        Target::RefreshToken(text) => {
            Named::By(RefreshToken::parse(text).ok_or(RevokeSessionError::InvalidRefreshToken)?)
        }
        Target::AccessToken(text) => Named::Id(app.authenticate(text, app.now()).await?.claims.sid),
    };
    let mut conn = app.database.connection().await?;
    let id = match named {
        Named::Id(id) => id,
        Named::By(token) => prove(app, &mut conn, &token).await?,
    };
    let (revoked, revocation) = conn.transaction(async |conn| end(app, conn, id, &request).await).await?;
    if let Some(revocation) = revocation {
        app.feed.announce(vec![revocation]);
        app.wake.wake();
        info!(session.id = %id, "Revoked session {id} of user {}: {}", revoked.user_id, request.reason);
    }
    Ok(revoked)
}

enum Named {
    Id(SessionId),
    By(RefreshToken),
}

/// The session of a refresh token whose MAC is good.
async fn prove(
    app: &App,
    conn: &mut AsyncPgConnection,
    token: &RefreshToken,
) -> Result<SessionId, RevokeSessionError> {
    let session = sessions::find(conn, token.session).await?;
    let session = session.ok_or(RevokeSessionError::InvalidRefreshToken)?;
    let key = app.open_refresh_key(&session)?;
    if key.issued(token) { Ok(session.id) } else { Err(RevokeSessionError::InvalidRefreshToken) }
}

async fn end(
    app: &App,
    conn: &mut AsyncPgConnection,
    id: SessionId,
    request: &RevokeSession,
) -> Result<(Revoked, Option<Revocation>), RevokeSessionError> {
    let session = sessions::lock(conn, id)
        .await?
        .filter(|session| request.user_id.is_none_or(|user| user == session.user_id))
        .ok_or(RevokeSessionError::NotFound)?;
    let now = app.now();
    let was_live = session.is_live(now);
    let mut revocation = None;
    // By another replica's clock one that is over by ours may be live.
    if session.revoked_at.is_none() {
        sessions::revoke(conn, id, &request.reason, now).await?;
        let tokens = RevocationFeed::revocation(RevocationTarget::Session(id), now);
        revocations::record(conn, &[tokens]).await?;
        revocation = Some(tokens);
    }
    if was_live {
        let fact = fact(app, &session, request);
        outbox::append_fact(conn, fact).await?;
        if request.reason == LOGOUT {
            let fact = facts::logged_out(&session, request.client.clone(), &*app.clock);
            outbox::append_fact(conn, fact).await?;
        }
    }
    Ok((Revoked { was_live, session_id: id, user_id: session.user_id }, revocation))
}

/// Whoever holds a token of the session, or is named as its user, is the user; otherwise the calling service acts by itself.
fn fact(
    app: &App,
    session: &Session,
    request: &RevokeSession,
) -> auth_events::Envelope<auth_events::Fact<auth_events::facts::SessionRevoked>> {
    let client = request.client.clone();
    let by_id = matches!(request.target, Target::Session(_));
    if by_id && request.user_id.is_none() {
        facts::revoked_by_service(session, &request.caller, &request.reason, client, &*app.clock)
    } else {
        facts::revoked_by_user(session, &request.reason, client, &*app.clock)
    }
}
