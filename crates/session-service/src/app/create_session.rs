//! Begins a session.

use std::{borrow::Cow, time::Duration};

use access_tokens::{Revocation, RevocationTarget};
use auth_events::Client;
use auth_ids::{GenericUuid, UserId};
use chrono::{DateTime, Utc};
use diesel_async::AsyncConnection;
use pg::AsyncPgConnection;
use service_error::{ErrorKind, ServiceError};
use tracing::info;

use super::{IssueError, Issued, database_error, facts, revocation_feed::RevocationFeed};
use crate::{
    SERVICE_NAME,
    domain::{
        device::Device,
        lifetime::Lifetime,
        refresh_token::RefreshKey,
        session::{Grant, MAX_SESSIONS_PER_USER, NewSession, Session},
    },
    state::App,
    store::{revocations, sessions, subjects},
};

pub struct CreateSession {
    pub user_id: UserId,
    pub grant: Grant,
    pub remember_me: bool,
    pub device: Device,
    pub client: Client,
}

#[derive(Debug, thiserror::Error)]
pub enum CreateSessionError {
    #[error("tokens cannot be issued")]
    Issue(#[from] IssueError),
    #[error("the session cannot be stored")]
    Database(#[from] pg::Error),
}

pg::leaves_transactions!(CreateSessionError);

impl ServiceError for CreateSessionError {
    fn kind(&self) -> ErrorKind {
        match self {
            Self::Issue(error) => error.kind(),
            Self::Database(error) => database_error::kind(error),
        }
    }

    fn reason(&self) -> &'static str {
        match self {
            Self::Issue(error) => error.reason(),
            Self::Database(error) => database_error::reason(error),
        }
    }

    fn public_detail(&self) -> Cow<'static, str> {
        Cow::Borrowed(self.kind().title())
    }

    fn retry_after(&self) -> Option<Duration> {
        match self {
            Self::Issue(_) => None,
            Self::Database(error) => database_error::retry_after(error),
        }
    }
}

/// Begins a session for a user whose authentication the caller has completed. The oldest sessions above the limit end.
#[tracing::instrument(name = "app.sessions.create", skip_all, fields(user.id = %request.user_id))]
pub async fn create_session(app: &App, request: CreateSession) -> Result<Issued, CreateSessionError> {
    let now = app.now();
    let keys = app.keys.for_signing().await;
    let signer = keys.signer(now).ok_or(IssueError::NoSigningKey)?;
    let client = request.client.clone();
    let (session, refresh_key) = begin(app, request, now);

    let _turn = app.turns.take(session.user_id.into_untyped_uuid()).await;
    let mut conn = app.database.connection().await?;
    let (tokens, ended) = conn
        .transaction(async |conn| {
            let epoch = subjects::lock(conn, session.user_id).await?;
            let ended = make_room(app, conn, session.user_id, &client, now).await?;
            sessions::insert(conn, &session).await?;
            let fact = facts::created(&session, client.clone(), &*app.clock);
            outbox::append_fact(conn, fact).await?;
            let tokens = app.tokens(&session, epoch, &refresh_key, signer, now)?;
            Ok::<_, CreateSessionError>((tokens, ended))
        })
        .await?;
    app.wake.wake();
    if !ended.is_empty() {
        app.feed.announce(ended);
    }
    info!(session.id = %session.id, "Began session {} of user {}", session.id, session.user_id);
    Ok(Issued { session, tokens })
}

fn begin(app: &App, request: CreateSession, now: DateTime<Utc>) -> (Session, RefreshKey) {
    let mut rng = clock::secure_rng();
    let id = auth_ids::generate(&*app.clock, &mut rng);
    let refresh_key = RefreshKey::generate(&mut rng);
    let lifetime = Lifetime::of(request.remember_me, request.grant.aal, &request.grant.roles);
    let new = NewSession {
        id,
        user_id: request.user_id,
        grant: request.grant,
        device: request.device,
        sealed_refresh_key: app.seal_refresh_key(&refresh_key, id),
        access_token_id: auth_ids::generate(&*app.clock, &mut rng),
        lifetime,
    };
    (Session::begin(new, now), refresh_key)
}

/// Ends the user's oldest sessions until there is room for one more; what that revoked.
async fn make_room(
    app: &App,
    conn: &mut AsyncPgConnection,
    user: UserId,
    client: &Client,
    now: DateTime<Utc>,
) -> pg::Result<Vec<Revocation>> {
    let mut ended = Vec::new();
    let newest_first = sessions::live_of_user(conn, user, now).await?;
    for session in newest_first.iter().skip(MAX_SESSIONS_PER_USER - 1) {
        sessions::revoke(conn, session.id, "session_limit", now).await?;
        let client = client.clone();
        let fact = facts::revoked_by_service(session, SERVICE_NAME, "session_limit", client, &*app.clock);
        outbox::append_fact(conn, fact).await?;
        ended.push(RevocationFeed::revocation(RevocationTarget::Session(session.id), now));
    }
    if !ended.is_empty() {
        revocations::record(conn, &ended).await?;
    }
    Ok(ended)
}
