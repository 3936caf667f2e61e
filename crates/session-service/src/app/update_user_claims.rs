//! Changes what a user may do, at once and in all sessions.

use std::time::Duration;

use access_tokens::{Revocation, RevocationTarget};
use auth_ids::{GenericUuid, UserId};
use diesel_async::AsyncConnection;
use pg::AsyncPgConnection;
use service_error::{ErrorKind, ServiceError};
use tracing::info;

use super::{database_error, revocation_feed::RevocationFeed};
use crate::{
    domain::lifetime::Lifetime,
    state::App,
    store::{revocations, sessions, subjects},
};

pub struct UpdateUserClaims {
    pub user_id: UserId,
    pub roles: Vec<String>,
    pub permissions: Vec<String>,
}

pub struct UpdatedClaims {
    /// How many live sessions say so now.
    pub sessions: u32,
    /// From which on access tokens are good.
    pub epoch: u64,
}

#[derive(Debug, thiserror::Error)]
pub enum UpdateUserClaimsError {
    #[error("the sessions cannot be read or stored")]
    Database(#[from] pg::Error),
}

pg::leaves_transactions!(UpdateUserClaimsError);

impl ServiceError for UpdateUserClaimsError {
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

/// Replaces roles and permissions of all live sessions of a user and begins a new epoch, so that no access token goes on saying the old ones.
/// Refresh tokens stay good, for no longer than a session may live that may do so much. Who changed the roles says so in the audit log; that is not this
/// service.
#[tracing::instrument(name = "app.sessions.update_claims", skip_all, fields(user.id = %request.user_id))]
pub async fn update_user_claims(
    app: &App,
    request: UpdateUserClaims,
) -> Result<UpdatedClaims, UpdateUserClaimsError> {
    let _turn = app.turns.take(request.user_id.into_untyped_uuid()).await;
    let mut conn = app.database.connection().await?;
    let (updated, revocation) = conn.transaction(async |conn| update(app, conn, &request).await).await?;
    app.feed.announce(vec![revocation]);
    info!("User {} may do something else now, in {} sessions", request.user_id, updated.sessions);
    Ok(updated)
}

async fn update(
    app: &App,
    conn: &mut AsyncPgConnection,
    request: &UpdateUserClaims,
) -> Result<(UpdatedClaims, Revocation), UpdateUserClaimsError> {
    let UpdateUserClaims { user_id, roles, permissions } = request;
    subjects::lock(conn, *user_id).await?;
    // Only now: waiting for the lock took time.
    let now = app.now();
    let limit = Lifetime::limit_of(roles);
    let sessions = sessions::update_grants(conn, *user_id, roles, permissions, limit, now).await?;
    let epoch = subjects::advance_epoch(conn, *user_id).await?;
    let revocation = RevocationFeed::revocation(RevocationTarget::UserBefore(*user_id, epoch), now);
    revocations::record(conn, &[revocation]).await?;
    let sessions = u32::try_from(sessions).unwrap_or(u32::MAX);
    Ok((UpdatedClaims { sessions, epoch }, revocation))
}
