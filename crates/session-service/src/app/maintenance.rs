//! Takes away what nobody needs any more. Every replica may run it at any time: each batch is a transaction of its own, and who finds a row locked
//! passes it over.

use std::{sync::Arc, time::Duration};

use auth_ids::{GenericUuid, SessionId, Uuid};
use chrono::{DateTime, TimeDelta, Utc};
use diesel_async::AsyncConnection;
use tokio_util::sync::CancellationToken;
use tracing::{info, warn};

use super::facts;
use crate::{
    state::App,
    store::{revocations, sessions},
};

const PERIOD: Duration = Duration::from_mins(1);
/// All sessions are looked at once in so many periods.
const PERIODS_OF_A_PASS: u32 = 60;
/// How long a session that has ended can still be looked up, for the sake of late retries and questions.
const KEPT_FOR: TimeDelta = TimeDelta::days(30);

/// Cleans up once a minute until `stop`.
pub async fn run(app: Arc<App>, stop: CancellationToken) {
    let mut periods: u32 = 0;
    while stop.run_until_cancelled(tokio::time::sleep(PERIOD)).await.is_some() {
        periods += 1;
        let mut result = forget_revocations(&app).await;
        if result.is_ok() && periods >= PERIODS_OF_A_PASS {
            periods = 0;
            result = pass(&app).await;
        }
        if let Err(error) = result {
            warn!(error = &error as &dyn std::error::Error, "Cleaning up is put off");
        }
    }
}

async fn forget_revocations(app: &App) -> pg::Result<()> {
    let mut conn = app.database.connection().await?;
    while revocations::forget_old(&mut conn, app.now()).await? > 0 {}
    Ok(())
}

/// Ends the sessions whose time is over, says so in the audit log, and deletes what ended long ago.
async fn pass(app: &App) -> pg::Result<()> {
    let now = app.now();
    let (mut expired, mut after) = (0, SessionId::from_untyped_uuid(Uuid::nil()));
    while let (batch, Some(last)) = expire_batch(app, after, now).await? {
        (expired, after) = (expired + batch, last);
    }
    let mut deleted = 0;
    let mut conn = app.database.connection().await?;
    while let batch @ 1.. = sessions::delete_ended(&mut conn, now - KEPT_FOR).await? {
        deleted += batch;
    }
    if expired + deleted > 0 {
        info!("{expired} sessions have expired, {deleted} that ended long ago are deleted");
    }
    Ok(())
}

/// A session whose time is over has no good tokens; this writes down that it ended.
async fn expire_batch(
    app: &App,
    after: SessionId,
    now: DateTime<Utc>,
) -> pg::Result<(usize, Option<SessionId>)> {
    let mut conn = app.database.connection().await?;
    let (expired, last) = conn
        .transaction(async |conn| {
            let (expired, last) = sessions::expire(conn, after, now).await?;
            for session in &expired {
                outbox::append_fact(conn, facts::expired(session, &*app.clock)).await?;
            }
            Ok::<_, pg::Error>((expired.len(), last))
        })
        .await?;
    if expired > 0 {
        app.wake.wake();
    }
    Ok((expired, last))
}
