//! Tells what is recorded to whoever follows the log. One reader serves all followers of this process, and reads only while
//! there are any.

use std::{sync::Arc, time::Duration};

use service_runtime::CancellationToken;
use tokio::{
    sync::{Notify, broadcast},
    time::{Instant, sleep, timeout_at},
};
use tracing::{info, warn};

use crate::{
    app::{AuditLog, SearchError},
    domain::{Criteria, RecordedEvent},
};

/// How soon an event is told after it was recorded.
const LOOK_EVERY: Duration = Duration::from_millis(200);
/// How long a follower hears nothing at most, while the database is there.
pub const SIGN_OF_LIFE: Duration = Duration::from_secs(2);
/// While the database is away.
const RETRY_AFTER: Duration = Duration::from_secs(1);
/// So many pieces of news wait for the slowest follower: seconds of the heaviest traffic, and a few dozen MiB at worst.
const BACKLOG: usize = 64;

/// A part of the log: all events above `after` up to `up_to`, in their order. A sign of life has none.
#[derive(Debug)]
pub struct News {
    pub after: i64,
    pub up_to: i64,
    pub events: Vec<RecordedEvent>,
}

/// Where followers get their news. Clones are the same.
#[derive(Clone)]
pub struct Tail {
    log: AuditLog,
    news: broadcast::Sender<Arc<News>>,
    came: Arc<Notify>,
}

impl Tail {
    #[must_use]
    pub fn new(log: AuditLog) -> Self {
        Self { log, news: broadcast::channel(BACKLOG).0, came: Arc::default() }
    }

    /// The news from now on; the first comes at once and says where it begins.
    #[must_use]
    pub fn follow(&self) -> broadcast::Receiver<Arc<News>> {
        let receiver = self.news.subscribe();
        self.came.notify_one();
        receiver
    }

    /// How many follow.
    #[must_use]
    pub fn followers(&self) -> usize {
        self.news.receiver_count()
    }

    /// Reads the log for all followers until `stop`.
    pub async fn run(self, stop: CancellationToken) {
        let _ = stop.run_until_cancelled(self.read_for_all()).await;
    }

    async fn read_for_all(&self) {
        loop {
            while self.followers() == 0 {
                self.came.notified().await;
            }
            info!("The log is followed");
            match self.read_while_followed().await {
                Ok(()) => info!("Nobody follows the log any more"),
                Err(error) => {
                    // Followers hear nothing, and know by that.
                    log_failure(&error);
                    sleep(RETRY_AFTER).await;
                }
            }
        }
    }

    /// Each time it begins at the end of the log; what is between that and what a follower had is read for that follower.
    async fn read_while_followed(&self) -> Result<(), SearchError> {
        let mut position = self.log.last_seq().await?;
        self.tell(position, position, Vec::new());
        let mut told = Instant::now();
        while self.followers() > 0 {
            let end = self.log.last_seq().await?;
            if end > position {
                let mut reading = self.log.read(&Criteria::default(), position, end).await?;
                while let Some(events) = reading.next().await? {
                    self.tell(position, reading.position(), events);
                    position = reading.position();
                }
                told = Instant::now();
            } else if told.elapsed() >= SIGN_OF_LIFE {
                self.tell(position, position, Vec::new());
                told = Instant::now();
            }
            // A follower who has just come is told at once where the news begins.
            if timeout_at(Instant::now() + LOOK_EVERY, self.came.notified()).await.is_ok() {
                self.tell(position, position, Vec::new());
            }
        }
        Ok(())
    }

    fn tell(&self, after: i64, up_to: i64, events: Vec<RecordedEvent>) {
        // Without a follower there is nobody to tell.
        let _ = self.news.send(Arc::new(News { after, up_to, events }));
    }
}

fn log_failure(error: &SearchError) {
    let cause: &dyn std::error::Error = error;
    warn!(error = cause, "The log cannot be followed for now");
}
