use std::time::{Duration, Instant};

use anyhow::ensure;
use auth_events::{
    commands::Lane,
    routing::{AUDIT_QUEUE, mailer_queue},
};

use super::Bench;

const PATIENCE: Duration = Duration::from_mins(3);
/// Twice in a row nothing may be left: a message is in no queue while somebody works on it.
const PAUSE: Duration = Duration::from_millis(250);

const IN_THE_DATABASE: &str =
    "SELECT (SELECT count(*) FROM auth.outbox) + (SELECT count(*) FROM session.outbox)
    + (SELECT count(*) FROM auth.deferred_requests WHERE due_at <= now())";
const END_OF_LOG: &str = "SELECT coalesce(max(seq), 0) FROM audit.events";

impl Bench {
    /// Waits until what earlier requests left to do is done, so that it is not measured with something else.
    pub(crate) async fn settle(&self) -> anyhow::Result<()> {
        let deadline = Instant::now() + PATIENCE;
        let mut before = None;
        loop {
            let now = (self.left().await?, self.platform.sql(END_OF_LOG).await?);
            if now.0 == 0 && before.as_ref() == Some(&now) {
                return Ok(());
            }
            ensure!(Instant::now() < deadline, "the platform is still busy with {} messages", now.0);
            before = Some(now);
            tokio::time::sleep(PAUSE).await;
        }
    }

    /// How many messages and requests wait.
    async fn left(&self) -> anyhow::Result<u64> {
        let mut left: u64 = self.platform.sql(IN_THE_DATABASE).await?.concat().parse()?;
        for queue in Lane::ALL.iter().map(|lane| mailer_queue(*lane)).chain([AUDIT_QUEUE]) {
            left += u64::from(self.bus.queue_length(queue).await?);
        }
        Ok(left)
    }
}
