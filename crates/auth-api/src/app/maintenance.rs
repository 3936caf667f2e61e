//! Forgets what has had its time. One replica at a time does it.

use std::time::Duration;

use auth_events::{Actor, ActorKind, Fact, facts::UserDeleted};
use chrono::TimeDelta;
use diesel_async::AsyncConnection;
use pg::AsyncPgConnection;
use tokio_util::sync::CancellationToken;

use crate::{
    app::{dependency::DependencyError, revocation},
    state::AppState,
    store::{
        attempts, data_exports, email_changes, idempotency_keys, known_devices, login_challenges,
        mail_allowances, maintenance_turn, one_time_tokens, totp_enrolments, users,
    },
};

const PERIOD: Duration = Duration::from_mins(1);
/// Registrations that nobody verified are kept as long as the link in the mail works.
const UNVERIFIED_FOR: TimeDelta = TimeDelta::hours(24);
/// A few failures are forgotten after this; what locked something stays.
const ATTEMPTS_FOR: TimeDelta = TimeDelta::days(1);
/// The longest time in which mails to an address are counted.
const ALLOWANCES_FOR: TimeDelta = TimeDelta::days(2);
/// Deletions in one round; the next one is a minute away.
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

/// One round, unless another replica is at it.
pub async fn maintain_once(state: &AppState) -> Result<(), DependencyError> {
    let mut conn = state.database.connection().await?;
    let forgotten = conn.transaction(async |conn| forget(conn, state).await).await?;
    drop(conn);
    for (what, count) in forgotten.into_iter().filter(|(_, count)| *count > 0) {
        tracing::info!("Forgot {count} {what}");
    }
    delete_accounts(state).await
}

async fn forget(
    conn: &mut AsyncPgConnection,
    state: &AppState,
) -> Result<Vec<(&'static str, usize)>, DependencyError> {
    if !maintenance_turn::take(conn).await? {
        return Ok(Vec::new());
    }
    let now = state.clock.now();
    Ok(vec![
        (
            "registrations that nobody verified",
            users::delete_unverified_since(conn, now - UNVERIFIED_FOR).await?,
        ),
        ("expired one-time tokens", one_time_tokens::delete_expired(conn, now).await?),
        ("expired login challenges", login_challenges::delete_expired(conn, now).await?),
        ("expired enrolments of second factors", totp_enrolments::delete_expired(conn, now).await?),
        ("devices that were not seen for long", known_devices::delete_expired(conn, now).await?),
        ("changes of address that are over", email_changes::delete_over(conn, now).await?),
        ("answers to repeat", idempotency_keys::delete_expired(conn, now).await?),
        ("copies of users' data", data_exports::delete_expired(conn, now).await?),
        ("counters of attempts", attempts::delete_idle(conn, now - ATTEMPTS_FOR).await?),
        ("counters of mails", mail_allowances::delete_idle(conn, now - ALLOWANCES_FOR).await?),
    ])
}

/// Deletes the accounts whose owners asked for it and did not change their mind; each in a transaction of its own.
async fn delete_accounts(state: &AppState) -> Result<(), DependencyError> {
    let due = users::due_for_deletion(
        &mut *state.database.connection().await?,
        state.clock.now(),
        DELETIONS,
    )
    .await?;
    for user in due {
        let mut conn = state.database.connection().await?;
        let revocation = conn
            .transaction(async |conn| {
                if !users::delete_if_due(conn, user, state.clock.now()).await? {
                    return Ok(None);
                }
                let system = Actor {
                    kind: ActorKind::Service,
                    id: None,
                    name: Some(crate::state::SOURCE.to_owned()),
                };
                let fact = Fact::new(system, UserDeleted {});
                outbox::append_fact(conn, state.fact(Some(user), fact)).await?;
                let revocation = revocation::decide(conn, state, user, None, "account_deleted").await?;
                Ok::<_, DependencyError>(Some(revocation))
            })
            .await?;
        drop(conn);
        if let Some(revocation) = revocation {
            state.outbox.wake();
            revocation::carry_out(state, &revocation, &revocation::nobody()).await;
        }
    }
    Ok(())
}
