//! Ends all sessions of a user, or all but one.

use std::time::Duration;

use access_tokens::{Revocation, RevocationTarget};
use auth_events::{Client, Envelope, Fact, facts::SessionRevokedAll};
use auth_ids::{GenericUuid, SessionId, UserId};
use diesel_async::AsyncConnection;
use pg::AsyncPgConnection;
use service_error::{ErrorKind, ServiceError};
use tracing::info;

use super::{database_error, facts, revocation_feed::RevocationFeed};
use crate::{
    state::App,
    store::{revocations, sessions, subjects},
};

/// The reason with which users end all their own sessions.
const LOGOUT_ALL: &str = "logout_all";

pub struct RevokeUserSessions {
    pub user_id: UserId,
    /// The session that lives on.
    pub except: Option<SessionId>,
    pub reason: String,
    /// The service that asks.
    pub caller: String,
    pub client: Client,
}

#[derive(Debug, thiserror::Error)]
pub enum RevokeUserSessionsError {
    #[error("the sessions cannot be read or stored")]
    Database(#[from] pg::Error),
}

pg::leaves_transactions!(RevokeUserSessionsError);

impl ServiceError for RevokeUserSessionsError {
    fn kind(&self) -> ErrorKind {
        let Self::Database(error) = self;
        database_error::kind(error)
    }

    fn reason(&self) -> &'static str {
        let Self::Database(error) = self;
        database_error::reason(error)
    }

    fn retry_after(&self) -> Option<Duration> {
        let Self::Database(error) = self;
        database_error::retry_after(error)
    }
}

/// Ends the live sessions of a user; how many there were. With the user's row locked no session begins meanwhile.
#[tracing::instrument(name = "app.sessions.revoke_all", skip_all, fields(user.id = %request.user_id))]
pub async fn revoke_user_sessions(
    app: &App,
    request: RevokeUserSessions,
) -> Result<u32, RevokeUserSessionsError> {
    let _turn = app.turns.take(request.user_id.into_untyped_uuid()).await;
    let mut conn = app.database.connection().await?;
    let (revoked, revocations) = conn.transaction(async |conn| end_all(app, conn, &request).await).await?;
    app.feed.announce(revocations);
    if revoked > 0 {
        app.wake.wake();
        info!("Revoked {revoked} sessions of user {}: {}", request.user_id, request.reason);
    }
    Ok(revoked)
}

async fn end_all(
    app: &App,
    conn: &mut AsyncPgConnection,
    request: &RevokeUserSessions,
) -> Result<(u32, Vec<Revocation>), RevokeUserSessionsError> {
    let user = request.user_id;
    subjects::lock(conn, user).await?;
    // Only now: waiting for the lock took time.
    let now = app.now();
    let kept = match request.except {
        Some(id) => sessions::find(conn, id).await?.filter(|it| it.user_id == user && it.is_live(now)),
        None => None,
    };
    let kept = kept.map(|session| session.id);
    let ended = sessions::revoke_of_user(conn, user, kept, &request.reason, now).await?;
    let revoked = ended.iter().filter(|(_, live)| *live).count();
    let revoked = u32::try_from(revoked).unwrap_or(u32::MAX);
    let targets = match kept {
        Some(_) => ended.into_iter().map(|(id, _)| RevocationTarget::Session(id)).collect(),
        None => vec![RevocationTarget::UserBefore(user, subjects::advance_epoch(conn, user).await?)],
    };
    let revocations: Vec<_> =
        targets.into_iter().map(|target| RevocationFeed::revocation(target, now)).collect();
    revocations::record(conn, &revocations).await?;
    if revoked > 0 {
        outbox::append_fact(conn, fact(app, request, SessionRevokedAll { revoked, kept })).await?;
    }
    Ok((revoked, revocations))
}

/// The user logs out everywhere; everything else is what the calling service does, because of what the user or somebody else did.
fn fact(
    app: &App,
    request: &RevokeUserSessions,
    detail: SessionRevokedAll,
) -> Envelope<Fact<SessionRevokedAll>> {
    let RevokeUserSessions { user_id, reason, caller, client, .. } = request;
    let client = client.clone();
    if reason == LOGOUT_ALL {
        facts::all_revoked_by_user(*user_id, detail, reason, client, &*app.clock)
    } else {
        facts::all_revoked_by_service(*user_id, detail, caller, reason, client, &*app.clock)
    }
}
