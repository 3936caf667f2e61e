use std::{error::Error, sync::Arc, time::Duration};

use auth_proto::session::v1::{
    Heartbeat, Revocation, RevocationSnapshot, WatchRevocationsRequest, WatchRevocationsResponse,
    watch_revocations_response::Event,
};
use backon::{BackoffBuilder, ExponentialBackoff, ExponentialBuilder};
use chrono::{DateTime, Utc};
use service_channel::AnsweredBy;
use tokio::{
    sync::watch::Sender,
    time::{Instant, sleep, timeout_at},
};
use tonic::{Request, Status, Streaming};
use tracing::{debug, info, warn};

use crate::{channel::Client, judge::Judge, lease::LEASE, messages};

/// How long session-service may take to begin.
const OPENING: Duration = Duration::from_secs(2);
const MAX_PAUSE: Duration = Duration::from_secs(2);

/// Hears of revocations and keys, for as long as it runs.
pub(crate) struct Watch {
    judge: Arc<Judge>,
    client: Client,
    ready: Sender<bool>,
}

/// Why nothing is heard any more.
#[derive(Debug, thiserror::Error)]
enum Lost {
    #[error("the stream failed")]
    Failed(#[from] Status),
    #[error("the stream ended")]
    Ended,
    #[error("the stream is silent")]
    Silent,
    #[error("a revocation cannot be read")]
    Unreadable,
}

impl Watch {
    pub fn new(judge: Arc<Judge>, client: Client, ready: Sender<bool>) -> Self {
        Self { judge, client, ready }
    }

    /// Until it is dropped.
    pub async fn run(self) {
        let mut pauses = None;
        loop {
            let began = Instant::now();
            let lost = self.follow().await;
            self.judge.metrics.connected.set(0);
            if self.held(began) {
                pauses = None;
            }
            let pause = match &mut pauses {
                // At once: another replica may be there, and most of the lease is left.
                None => {
                    warn!(error = &lost as &dyn Error, "Revocations are not told any more; connecting again");
                    pauses = Some(new_pauses());
                    continue;
                }
                Some(pauses) => pauses.next().unwrap_or(MAX_PAUSE),
            };
            debug!(error = &lost as &dyn Error, "Revocations are not told yet");
            sleep(pause).await;
        }
    }

    /// Whether the stream that began then was a good one. One that breaks as soon as it begins is not connected again at once.
    fn held(&self, began: Instant) -> bool {
        let lasted = self.judge.lease.age().and_then(|age| began.elapsed().checked_sub(age));
        lasted.is_some_and(|lasted| lasted >= MAX_PAUSE)
    }

    async fn follow(&self) -> Lost {
        let mut request = Request::new(WatchRevocationsRequest {});
        request.set_timeout(OPENING);
        let mut response = match self.client.clone().watch_revocations(request).await {
            Ok(response) => response,
            Err(status) => return Lost::Failed(status),
        };
        let replica = response.extensions_mut().remove::<AnsweredBy>();
        let lost = self.listen(response.into_inner()).await;
        if let (Lost::Silent, Some(replica)) = (&lost, replica) {
            // The connection may lead nowhere; even if it does not, another replica shall have the next stream.
            replica.leave();
        }
        lost
    }

    /// Believes what the stream says, until it ends or says nothing for as long as the lease.
    async fn listen(&self, mut stream: Streaming<WatchRevocationsResponse>) -> Lost {
        let mut is_complete = false;
        let mut deadline = Instant::now() + LEASE;
        loop {
            let message = match timeout_at(deadline, stream.message()).await {
                // What was on its way for too long is as old as the silence before it.
                Ok(_) if Instant::now() > deadline => return Lost::Silent,
                Ok(Ok(Some(message))) => message,
                Ok(Ok(None)) => return Lost::Ended,
                Ok(Err(status)) => return Lost::Failed(status),
                Err(_elapsed) => return Lost::Silent,
            };
            let news = match message.event {
                Some(Event::Keys(keys)) => {
                    self.judge.tokens.trust(&messages::public_keys(keys.keys));
                    Some(())
                }
                Some(Event::Snapshot(part)) => self.learn_snapshot(&part, &mut is_complete),
                Some(Event::Revoked(batch)) => self.learn(&batch.revocations),
                Some(Event::Heartbeat(heartbeat)) => {
                    if is_complete {
                        self.renew(heartbeat);
                        deadline = Instant::now() + LEASE;
                    }
                    Some(())
                }
                // Of a later version.
                None => Some(()),
            };
            if news.is_none() {
                return Lost::Unreadable;
            }
            // Later only a heartbeat says that there is nothing else to know.
            if !is_complete {
                deadline = Instant::now() + LEASE;
            }
        }
    }

    fn learn_snapshot(&self, part: &RevocationSnapshot, is_complete: &mut bool) -> Option<()> {
        self.learn(&part.revocations)?;
        if part.complete {
            self.judge.lease.renew(messages::time(part.covers_since));
            self.judge.metrics.connected.set(1);
            self.ready.send_replace(true);
            *is_complete = true;
            info!("Revocations are told");
        }
        Some(())
    }

    /// What is known is added to and never replaced. Whoever was revoked stays so, even if this replica has not heard of it yet; it is forgotten when the last
    /// token is expired. `None` when there is something that this version does not understand: then not every revocation is known.
    fn learn(&self, revocations: &[Revocation]) -> Option<()> {
        let read: Vec<_> = revocations.iter().filter_map(messages::revocation).collect();
        let is_all = read.len() == revocations.len();
        self.judge.revoked.insert(read);
        is_all.then_some(())
    }

    fn renew(&self, heartbeat: Heartbeat) {
        self.judge.lease.renew(messages::time(heartbeat.covers_since));
        if let Some(at) = messages::time(heartbeat.at) {
            self.forget_old(at);
        }
    }

    /// By the slower of the two clocks, so that neither makes us forget too early.
    fn forget_old(&self, at: DateTime<Utc>) {
        self.judge.revoked.forget_old(at.min(self.judge.clock.now()));
    }
}

fn new_pauses() -> ExponentialBackoff {
    ExponentialBuilder::default()
        .with_min_delay(Duration::from_millis(100))
        .with_max_delay(MAX_PAUSE)
        .with_jitter()
        .without_max_times()
        .build()
}
