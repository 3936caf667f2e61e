use std::{error::Error, time::Duration};

use auth_events::{commands::Lane, routing::mailer_queue};
use chrono::TimeDelta;
use clock::SharedClock;
use diesel_async::AsyncConnection;
use event_bus::EventBus;
use pg::Database;
use tokio_util::sync::CancellationToken;

use super::requeue;
use crate::{
    domain::message::{Circumstances, MessageState},
    metrics::Metrics,
    store::{messages, moves, transitions, upkeep},
};

const PERIOD: Duration = Duration::from_secs(30);
/// How many messages one statement is about.
const BATCH: i64 = 200;
/// How many batches of one step one look is about; what is more waits for the next look.
const MOST_BATCHES: u32 = 50;

/// Looks after messages that nobody asks for any more.
#[derive(Clone)]
pub struct Caretaker {
    /// Where the messages are.
    pub database: Database,
    /// Where their commands go.
    pub bus: EventBus,
    /// How long the history of a message is kept after its end.
    pub retention: TimeDelta,
    /// What time it is.
    pub clock: SharedClock,
    /// What is counted.
    pub metrics: Metrics,
}

impl Caretaker {
    /// Looks after them until `stop`.
    pub async fn work(self, stop: CancellationToken) {
        while !stop.is_cancelled() {
            if let Some(Err(error)) = stop.run_until_cancelled(self.look_after()).await {
                tracing::warn!(error = &error as &dyn Error, "Messages cannot be looked after");
            }
            stop.run_until_cancelled(tokio::time::sleep(PERIOD)).await;
        }
    }

    /// Once: expires what was forgotten, drops commands that are good for nothing, deletes what is old, and puts into their queues what the broker
    /// seems to have lost.
    pub async fn look_after(&self) -> pg::Result<()> {
        let mut batches = Batches::default();
        while batches.go_on(self.expire_forgotten().await?) {}
        let now = self.clock.now();
        let mut conn = self.database.connection().await?;
        let mut batches = Batches::default();
        while batches.go_on(upkeep::drop_dead_commands(&mut conn, now, BATCH).await?) {}
        let mut batches = Batches::default();
        while batches.go_on(upkeep::delete_ended(&mut conn, now - self.retention, BATCH).await?) {}
        for (state, count) in upkeep::count_unfinished(&mut conn).await? {
            self.metrics.messages(state, count);
        }
        drop(conn);
        for lane in Lane::ALL {
            self.revive(*lane).await?;
        }
        Ok(())
    }

    /// How many of a batch expired.
    async fn expire_forgotten(&self) -> pg::Result<usize> {
        let now = self.clock.now();
        let mut conn = self.database.connection().await?;
        let mut count = 0;
        for id in upkeep::forgotten(&mut conn, now, BATCH).await? {
            let expired = conn
                .transaction(async |conn| -> pg::Result<bool> {
                    let Some(attempt) = moves::give_up(conn, id, MessageState::Expired, now).await? else {
                        return Ok(false);
                    };
                    let circumstances = Circumstances { attempt, ..Circumstances::default() };
                    transitions::append(conn, id, MessageState::Expired, circumstances, now).await?;
                    Ok(true)
                })
                .await?;
            if expired {
                count += 1;
                if let Some(message) = messages::find(&mut conn, id).await? {
                    self.metrics.expired(&message.template);
                }
            }
        }
        Ok(count)
    }

    /// While anything waits in the lane's queue, what is overdue may be among it.
    async fn revive(&self, lane: Lane) -> pg::Result<()> {
        if !matches!(self.bus.queue_length(mailer_queue(lane)).await, Ok(0)) {
            return Ok(());
        }
        let mut batches = Batches::default();
        while batches.go_on(self.revive_batch(lane).await?) {}
        Ok(())
    }

    /// How many of a batch the broker took.
    async fn revive_batch(&self, lane: Lane) -> pg::Result<usize> {
        let now = self.clock.now();
        let mut conn = self.database.connection().await?;
        let overdue = upkeep::take_overdue(&mut conn, lane.name(), now, BATCH).await?;
        drop(conn);
        if overdue.is_empty() {
            return Ok(0);
        }
        let count = overdue.len();
        tracing::warn!(
            mail.lane = lane.name(),
            count,
            "Put {count} mails that are overdue into their queue again"
        );
        let published = requeue::publish(&self.bus.publisher(), overdue).await;
        let taken = published.iter().filter(|result| result.is_ok()).count();
        for refused in published.into_iter().filter_map(Result::err) {
            tracing::warn!(error = &refused as &dyn Error, "An overdue mail waits for the broker");
        }
        Ok(taken)
    }
}

/// How many batches of a step were done in this look.
#[derive(Default)]
struct Batches(u32);

impl Batches {
    /// Whether another batch comes after one of `done` messages: a full one leaves some behind. Never more than [`MOST_BATCHES`], so that no step keeps
    /// the others waiting for ever.
    fn go_on(&mut self, done: usize) -> bool {
        self.0 += 1;
        self.0 < MOST_BATCHES && i64::try_from(done).is_ok_and(|done| done >= BATCH)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_step_goes_on_while_batches_are_full_and_not_for_ever() {
        let mut batches = Batches::default();
        assert!(batches.go_on(200) && !batches.go_on(199));
        let mut batches = Batches::default();
        let mut count = 1;
        while batches.go_on(200) {
            count += 1;
        }
        assert_eq!(count, 50);
    }
}
