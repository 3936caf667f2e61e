//! Forgets registrations whose address nobody proved.

use std::time::Duration;

use chrono::TimeDelta;
use clock::SharedClock;
use pg::Database;
use tokio_util::sync::CancellationToken;

use crate::store::users;

/// As long as the link in the mail works.
const KEPT_FOR: TimeDelta = TimeDelta::hours(24);
const PERIOD: Duration = Duration::from_mins(10);

/// Forgets them again and again until `stop`. Any number of replicas may do so at once: a row goes once.
pub async fn forget_unverified_regularly(database: Database, clock: SharedClock, stop: CancellationToken) {
    let mut ticks = tokio::time::interval(PERIOD);
    while stop.run_until_cancelled(ticks.tick()).await.is_some() {
        match forget_unverified(&database, &clock).await {
            Ok(0) => {}
            Ok(count) => tracing::info!("Forgot {count} registrations that nobody verified"),
            Err(error) => tracing::warn!("Unverified registrations could not be forgotten: {error}"),
        }
    }
}

/// Deletes unverified accounts that were last registered more than a day ago; says how many.
pub async fn forget_unverified(database: &Database, clock: &SharedClock) -> pg::Result<usize> {
    users::delete_unverified_since(&mut *database.connection().await?, clock.now() - KEPT_FOR).await
}
