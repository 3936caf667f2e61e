//! Ends a user's sessions because of a change in the account, and does not forget to.
//!
//! The decision is written down in the transaction of the change. Whoever made the change carries it out at once; if that fails, or the process ends
//! before, the background does. A change that must not happen while old sessions live asks session-service before the commit too.

use std::time::Duration;

use auth_events::Client;
use auth_ids::{SessionId, UserId};
use chrono::TimeDelta;
use pg::AsyncPgConnection;
use tokio_util::sync::CancellationToken;

use crate::{
    app::dependency::DependencyError,
    state::AppState,
    store::pending_revocations::{self, PendingRevocation},
};

/// Whoever decided carries it out within this time, or not at all.
const OURS_FOR: TimeDelta = TimeDelta::seconds(5);
const PERIOD: Duration = Duration::from_secs(2);
const BATCH: i64 = 32;

/// Ends the sessions of `user`, but `kept`, before the change that makes it necessary: if that is not possible, the change must not happen.
pub async fn before_the_change(
    state: &AppState,
    user: UserId,
    kept: Option<SessionId>,
    reason: &str,
    client: &Client,
) -> Result<(), DependencyError> {
    state.sessions.revoke_all(user, kept, reason, client).await?;
    Ok(())
}

/// Writes the decision down, in the transaction of the change.
pub async fn decide(
    conn: &mut AsyncPgConnection,
    state: &AppState,
    user: UserId,
    kept: Option<SessionId>,
    reason: &str,
) -> pg::Result<PendingRevocation> {
    let id = auth_ids::generate(&*state.clock, &mut clock::secure_rng());
    let revocation = PendingRevocation { id, user_id: user, kept_session: kept, reason: reason.to_owned() };
    pending_revocations::insert(conn, &revocation, state.clock.now()).await?;
    Ok(revocation)
}

/// Carries a committed decision out; what fails is left to the background.
pub async fn carry_out(state: &AppState, revocation: &PendingRevocation, client: &Client) {
    if let Err(error) = try_to_carry_out(state, revocation, client).await {
        let user = revocation.user_id;
        tracing::warn!(user.id = %user, "Ending the sessions of user {user} is left for later: {error}");
    }
}

async fn try_to_carry_out(
    state: &AppState,
    revocation: &PendingRevocation,
    client: &Client,
) -> Result<(), DependencyError> {
    let PendingRevocation { id, user_id, kept_session, reason } = revocation;
    state.sessions.revoke_all(*user_id, *kept_session, reason, client).await?;
    Ok(pending_revocations::delete(&mut *state.database.connection().await?, *id).await?)
}

/// Carries out what others left, until `stop`. Several replicas may do so at once: ending ended sessions changes nothing.
pub async fn carry_out_what_is_left(state: AppState, stop: CancellationToken) {
    let mut ticks = tokio::time::interval(PERIOD);
    while stop.run_until_cancelled(ticks.tick()).await.is_some() {
        let left = match left(&state).await {
            Ok(left) => left,
            Err(error) => {
                tracing::debug!("What sessions have to end cannot be read: {error}");
                continue;
            }
        };
        for revocation in left {
            carry_out(&state, &revocation, &nobody()).await;
        }
    }
}

/// The client of what nobody's request caused.
#[must_use]
pub fn nobody() -> Client {
    Client { ip: None, user_agent: None, request_id: None }
}

async fn left(state: &AppState) -> pg::Result<Vec<PendingRevocation>> {
    let before = state.clock.now() - OURS_FOR;
    pending_revocations::oldest(&mut *state.database.connection().await?, before, BATCH).await
}
