use std::time::Duration;

use backon::{BackoffBuilder, ExponentialBackoff, ExponentialBuilder};
use diesel_async::AsyncConnection;
use event_bus::{PublishError, Publisher};
use pg::{Commit, Database, DatabaseSettings};
use prometheus::Registry;
use tokio::time::{Instant, sleep, timeout};
use tokio_util::sync::CancellationToken;
use tracing::{error, info, warn};
use uuid::Uuid;

use crate::{Wake, metrics::Metrics, rests::Rests, store};

/// How long a message that no queue would receive is left alone: at first not long, because the queue's owner may be starting for the first time.
const UNROUTABLE_RESTS_FIRST: Duration = Duration::from_secs(1);
/// Each rest is twice as long as the one before, up to this.
const UNROUTABLE_RESTS_AT_MOST: Duration = Duration::from_secs(30);

/// How many of them are left alone. Every query names each, and behind still more of them the rest has to wait.
const UNROUTABLE_LIMIT: usize = 1_000;

/// After so many batches the backlog is measured anew, and a stop is heard.
const BATCHES_A_ROUND: usize = 8;

/// How the relay works.
#[derive(Debug, Clone)]
pub struct RelaySettings {
    /// How many messages are taken at once.
    pub batch_size: i64,
    /// How often it looks without being woken.
    pub period: Duration,
    /// How many times as fast as they came late messages are brought at most, unless that would take longer than a minute.
    pub speed: f64,
}

impl Default for RelaySettings {
    fn default() -> Self {
        Self { batch_size: 128, period: Duration::from_millis(500), speed: 20.0 }
    }
}

/// Brings stored messages to the broker.
pub struct Relay {
    database: Database,
    publisher: Publisher,
    settings: RelaySettings,
    wake: Wake,
    metrics: Metrics,
    unroutable: Unroutable,
    rests: Rests,
}

#[derive(Debug, thiserror::Error)]
enum RelayError {
    #[error(transparent)]
    Database(#[from] pg::Error),
    #[error(transparent)]
    Publish(#[from] PublishError),
}
pg::leaves_transactions!(RelayError);

impl Relay {
    /// A relay over the `outbox` table that the role of `database` sees; registers `outbox_pending` and `outbox_oldest_seconds`.
    ///
    /// It has a pool of its own of two connections, because requests and relay must not wait for each other. That messages are gone is committed
    /// asynchronously: a crash of PostgreSQL may bring back what was sent in its last second, and consumers expect that some come again.
    pub fn new(
        database: DatabaseSettings,
        publisher: Publisher,
        settings: RelaySettings,
        wake: Wake,
        registry: &Registry,
    ) -> anyhow::Result<Self> {
        let database = Database::new(&DatabaseSettings {
            max_connections: 2,
            commit: Commit::Asynchronous,
            ..database
        })?;
        let metrics = Metrics::register(registry)?;
        Ok(Self {
            database,
            publisher,
            rests: Rests::new(settings.speed),
            settings,
            wake,
            metrics,
            unroutable: Unroutable::default(),
        })
    }

    /// Relays until `stop`, then tries to bring the rest within `drain`.
    pub async fn run(mut self, stop: CancellationToken, drain: Duration) {
        let mut pauses = pauses();
        while !stop.is_cancelled() {
            match self.round(false).await {
                Ok(true) => pauses = self::pauses(),
                Ok(false) => {
                    pauses = self::pauses();
                    tokio::select! {
                        () = stop.cancelled() => (),
                        () = self.wake.woken() => (),
                        () = sleep(self.settings.period) => (),
                    }
                }
                // Being woken changes nothing about a broker that is away.
                Err(error) => {
                    report(error);
                    self.rests.forget();
                    tokio::select! {
                        () = stop.cancelled() => (),
                        () = sleep(next(&mut pauses)) => (),
                    }
                }
            }
        }
        if timeout(drain, self.drain()).await.is_err() {
            info!("Left messages in the outbox for the next start");
        }
    }

    async fn drain(&mut self) {
        let mut pauses = pauses();
        loop {
            match self.round(true).await {
                Ok(true) => (),
                Ok(false) => return,
                Err(error) => {
                    report(error);
                    sleep(next(&mut pauses)).await;
                }
            }
        }
    }

    /// Brings some batches of what waits now, and says whether there may be more. Connects even when nothing waits, so that the broker has
    /// the queues before the first message. Rests between batches behind an absence of the broker, unless it is `in_haste`.
    async fn round(&mut self, in_haste: bool) -> Result<bool, RelayError> {
        let backlog = store::backlog(&mut *self.database.connection().await?).await?;
        self.metrics.show(&backlog);
        self.publisher.ready().await?;
        let tempo = if in_haste { None } else { self.rests.before_a_round(&backlog) };
        let size =
            tempo.map_or(self.settings.batch_size, |tempo| tempo.batch_size.min(self.settings.batch_size));
        self.unroutable.forget_when_rested();
        let mut may_be_more = backlog.pending > 0;
        let mut batches = 0..BATCHES_A_ROUND;
        while may_be_more && batches.next().is_some() {
            let began = Instant::now();
            may_be_more = self.bring_batch(size).await?;
            if let Some(tempo) = tempo {
                sleep(tempo.rest_after(began.elapsed())).await;
            }
        }
        if !may_be_more {
            self.unroutable.forget_rests_if_none();
        }
        Ok(may_be_more)
    }

    /// Brings a batch of this size, and says whether there may be more.
    async fn bring_batch(&mut self, size: i64) -> Result<bool, RelayError> {
        let Self { database, publisher, unroutable, .. } = self;
        let mut conn = database.connection().await?;
        let batch = conn
            .transaction(async |conn| {
                let rows = store::lock_batch(conn, size, &unroutable.ids).await?;
                let batch = Batch::publish(publisher, rows).await;
                if !batch.confirmed.is_empty() {
                    store::delete(conn, &batch.confirmed).await?;
                }
                Ok::<_, RelayError>(batch)
            })
            .await?;
        let full = batch.is_full(size);
        unroutable.add(batch.unroutable);
        match batch.failure {
            Some(failure) => Err(failure.into()),
            // Beyond the limit the next batch could be the same one again.
            None => Ok(full && !unroutable.is_full()),
        }
    }
}

/// What became of the messages of a batch.
#[derive(Default)]
struct Batch {
    confirmed: Vec<Uuid>,
    unroutable: Vec<Uuid>,
    failure: Option<PublishError>,
}

impl Batch {
    async fn publish(publisher: &Publisher, rows: Vec<store::StoredMessage>) -> Self {
        let mut batch = Self::default();
        let (mut ids, mut messages) = (Vec::new(), Vec::new());
        for row in rows {
            let id = row.id;
            if let Some(message) = row.into_outgoing() {
                ids.push(id);
                messages.push(message);
            } else {
                batch.unroutable.push(id);
            }
        }
        for (id, result) in ids.into_iter().zip(publisher.publish(messages).await) {
            match result {
                Ok(()) => batch.confirmed.push(id),
                Err(PublishError::Unroutable) => batch.unroutable.push(id),
                Err(failure) => batch.failure = Some(failure),
            }
        }
        batch
    }

    fn is_full(&self, size: i64) -> bool {
        i64::try_from(self.confirmed.len() + self.unroutable.len()).is_ok_and(|taken| taken >= size)
    }
}

/// The messages that no queue would receive, so that they are neither lost nor in the way.
struct Unroutable {
    ids: Vec<Uuid>,
    since: Option<Instant>,
    rest: Duration,
}

impl Default for Unroutable {
    fn default() -> Self {
        Self { ids: Vec::new(), since: None, rest: UNROUTABLE_RESTS_FIRST }
    }
}

impl Unroutable {
    fn add(&mut self, ids: Vec<Uuid>) {
        let Some(first) = ids.first().filter(|_| !self.is_full()) else { return };
        // Once for each batch, and for each message no more often than it is tried.
        let said = format!("No queue is bound for {} messages of the outbox; they stay there", ids.len());
        if self.rest < UNROUTABLE_RESTS_AT_MOST {
            info!(message.id = %first, "{said}");
        } else {
            error!(message.id = %first, "{said}");
        }
        self.since.get_or_insert_with(Instant::now);
        self.ids.extend(ids);
        self.ids.truncate(UNROUTABLE_LIMIT);
    }

    fn is_full(&self) -> bool {
        self.ids.len() >= UNROUTABLE_LIMIT
    }

    fn forget_when_rested(&mut self) {
        if self.since.is_some_and(|since| since.elapsed() >= self.rest) {
            let rest = (self.rest * 2).min(UNROUTABLE_RESTS_AT_MOST);
            *self = Self { rest, ..Self::default() };
        }
    }

    fn forget_rests_if_none(&mut self) {
        if self.ids.is_empty() {
            *self = Self::default();
        }
    }
}

/// From 0.2 s to 5 s, of which up to half is chance.
fn pauses() -> ExponentialBackoff {
    ExponentialBuilder::default()
        .with_min_delay(Duration::from_millis(200))
        .with_max_delay(Duration::from_millis(2_500))
        .with_jitter()
        .without_max_times()
        .build()
}

fn next(pauses: &mut ExponentialBackoff) -> Duration {
    pauses.next().unwrap_or(Duration::from_secs(5))
}

fn report(error: RelayError) {
    warn!(error = format!("{:#}", anyhow::Error::from(error)), "Messages wait in the outbox");
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn no_more_than_the_limit_is_left_alone_and_each_time_for_longer() {
        let mut unroutable = Unroutable::default();
        for full in [false, true, true] {
            unroutable.add(vec![Uuid::nil(); 600]);
            assert_eq!(unroutable.is_full(), full);
        }
        assert_eq!(unroutable.ids.len(), UNROUTABLE_LIMIT);
        for seconds in [1, 2, 4, 8, 16, 30, 30] {
            unroutable.add(vec![Uuid::nil()]);
            tokio::time::advance(Duration::from_millis(seconds * 1_000 - 1)).await;
            unroutable.forget_when_rested();
            assert!(!unroutable.ids.is_empty(), "{seconds} s");
            tokio::time::advance(Duration::from_millis(1)).await;
            unroutable.forget_when_rested();
            assert!(unroutable.ids.is_empty(), "{seconds} s");
        }
        unroutable.forget_rests_if_none();
        assert_eq!(unroutable.rest, UNROUTABLE_RESTS_FIRST);
    }
}
