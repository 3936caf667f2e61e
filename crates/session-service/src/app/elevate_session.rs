//! Takes note that the user of a session has authenticated again.

use std::time::Duration;

use auth_ids::{GenericUuid, SessionId, UserId};
use diesel_async::AsyncConnection;
use pg::AsyncPgConnection;
use service_error::{ErrorKind, ServiceError};
use tracing::info;

use super::{FurtherAccess, IssueError, database_error};
use crate::{
    domain::{
        device::Device,
        key_set::SigningKey,
        session::{Proof, Session},
    },
    state::App,
    store::{sessions, subjects},
};

pub struct ElevateSession {
    pub session_id: SessionId,
    pub user_id: UserId,
    pub proof: Proof,
    pub device: Device,
}

/// The session as it is now, with an access token that says so.
pub struct Elevated {
    pub session: Session,
    pub access: FurtherAccess,
}

#[derive(Debug, thiserror::Error)]
pub enum ElevateSessionError {
    #[error("there is no such session of that user")]
    NotFound,
    #[error("the session has ended")]
    Ended,
    #[error("no access token can be issued")]
    Issue(#[from] IssueError),
    #[error("the session cannot be read or stored")]
    Database(#[from] pg::Error),
}

pg::leaves_transactions!(ElevateSessionError);

impl ServiceError for ElevateSessionError {
    fn kind(&self) -> ErrorKind {
        match self {
            Self::NotFound => ErrorKind::NotFound,
            Self::Ended => ErrorKind::Unauthenticated,
            Self::Issue(error) => error.kind(),
            Self::Database(error) => database_error::kind(error),
        }
    }

    fn reason(&self) -> &'static str {
        match self {
            Self::NotFound => "session_not_found",
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
}

/// Raises what a live session says of its user's authentication. The line of refresh tokens does not move.
#[tracing::instrument(name = "app.sessions.elevate", skip_all, fields(session.id = %request.session_id))]
pub async fn elevate_session(app: &App, request: ElevateSession) -> Result<Elevated, ElevateSessionError> {
    // Before a connection is held, because loading keys takes one too.
    let keys = app.keys.for_signing().await;
    let signer = keys.signer(app.now()).ok_or(IssueError::NoSigningKey)?;
    let _turn = app.turns.take(request.session_id.into_untyped_uuid()).await;
    let mut conn = app.database.connection().await?;
    let elevated = conn.transaction(async |conn| raise(app, conn, request, signer).await).await?;
    let Session { id, user_id, grant, .. } = &elevated.session;
    info!("User {user_id} authenticated again in session {id}, which has level {}", grant.aal);
    Ok(elevated)
}

async fn raise(
    app: &App,
    conn: &mut AsyncPgConnection,
    request: ElevateSession,
    signer: &SigningKey,
) -> Result<Elevated, ElevateSessionError> {
    let session = sessions::lock(conn, request.session_id)
        .await?
        .filter(|session| session.user_id == request.user_id)
        .ok_or(ElevateSessionError::NotFound)?;
    // Only now: waiting for the lock took time.
    let now = app.now();
    if !session.is_live(now) {
        return Err(ElevateSessionError::Ended);
    }
    let session = session.elevate(request.proof, &request.device, now);
    sessions::save_elevation(conn, &session).await?;
    let epoch = subjects::epoch(conn, session.user_id).await?;
    // Before the commit: what does not fit in a token would not fit at the next refresh either.
    let access = app.further_access(&session, epoch, signer, now)?;
    Ok(Elevated { session, access })
}
