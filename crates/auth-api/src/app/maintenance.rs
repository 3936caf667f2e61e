//! Forgets what has had its time. One replica at a time does it.

use std::time::Duration;

use auth_events::{Fact, facts::UserDeleted};
use auth_ids::UserId;
use diesel_async::AsyncConnection;
use tokio_util::sync::CancellationToken;

use crate::{
    app::{dependency::DependencyError, revocation},
    state::{AppState, SOURCE},
    store::{
        leftovers::{self, LEFTOVERS, Leftovers},
        maintenance_turn, users,
    },
};

const PERIOD: Duration = Duration::from_mins(1);
/// Rows that one statement forgets: few enough for its deadline, whatever hangs on them.
const BATCH: i64 = 500;
/// Batches of one kind in a round; the next round is a minute away.
const BATCHES: usize = 40;
/// Accounts that one round deletes.
const DELETIONS: i64 = 100;

/// Forgets again and again until `stop`.
pub async fn maintain(state: AppState, stop: CancellationToken) {
    let mut ticks = tokio::time::interval(PERIOD);
    while stop.run_until_cancelled(ticks.tick()).await.is_some() {
        if let Err(error) = maintain_once(&state).await {
            tracing::warn!("What has had its time could not be forgotten: {error}");
        }
    }
}

/// One round, unless another replica is at it. What cannot be forgotten is in the way of nothing else.
pub async fn maintain_once(state: &AppState) -> Result<(), DependencyError> {
    let mut turn = state.database.connection().await?;
    turn.transaction(async |turn| {
        if maintenance_turn::take(turn).await? {
            for leftovers in LEFTOVERS {
                match forget(state, leftovers).await {
                    Ok(0) => {}
                    Ok(count) => tracing::info!("Forgot {count} {}", leftovers.what),
                    Err(error) => tracing::warn!("{} could not be forgotten: {error}", leftovers.what),
                }
            }
            delete_accounts(state).await?;
        }
        Ok(())
    })
    .await
}

async fn forget(state: &AppState, leftovers: &Leftovers) -> pg::Result<usize> {
    let mut conn = state.database.connection().await?;
    let mut forgotten = 0;
    for _ in 0..BATCHES {
        let count = leftovers::delete(&mut conn, leftovers, state.clock.now(), BATCH).await?;
        forgotten += count;
        if i64::try_from(count).unwrap_or(0) < BATCH {
            break;
        }
    }
    Ok(forgotten)
}

/// Deletes the accounts whose owners asked for it and did not change their mind.
async fn delete_accounts(state: &AppState) -> pg::Result<()> {
    let now = state.clock.now();
    let due = users::due_for_deletion(&mut *state.database.connection().await?, now, DELETIONS).await?;
    for user in due {
        if let Err(error) = delete_account(state, user).await {
            tracing::warn!(user.id = %user, "The account of user {user} could not be deleted: {error}");
        }
    }
    Ok(())
}

async fn delete_account(state: &AppState, user: UserId) -> Result<(), DependencyError> {
    let mut conn = state.database.connection().await?;
    let revocation = conn
        .transaction(async |conn| {
            if !users::delete_if_due(conn, user, state.clock.now()).await? {
                return Ok(None);
            }
            let fact = Fact::by_service(SOURCE, UserDeleted {});
            outbox::append_fact(conn, state.fact(Some(user), fact)).await?;
            Ok::<_, DependencyError>(Some(
                revocation::decide(conn, state, user, None, "account_deleted").await?,
            ))
        })
        .await?;
    drop(conn);
    if let Some(revocation) = revocation {
        state.accounts.forget(user);
        state.outbox.wake();
        revocation::carry_out(state, &revocation, &revocation::nobody()).await;
    }
    Ok(())
}
