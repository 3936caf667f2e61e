//! What becomes of messages that were delivered.

use std::{
    future::Future,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use anyhow::{Context, bail, ensure};
use futures::StreamExt;
use lapin::{
    Channel, Consumer,
    message::Delivery,
    options::{BasicAckOptions, BasicNackOptions},
};
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;
use tracing::warn;

use crate::{
    PublishError, Verdict,
    backoff::Backoff,
    link::Link,
    posting::Posting,
    subscription::{Subscription, rest},
    topology,
};

/// The broker takes a message away that is unacknowledged for half an hour (`consumer_timeout`), which counts as a delivery. Long before,
/// a message whose handler still says `Requeue` is parked in a delay queue, where nothing is counted, if the broker takes it there.
const KEPT_AT_MOST: Duration = Duration::from_mins(10);
const PARKED_FOR: Duration = Duration::from_mins(1);

/// How often the broker may fail to take messages that go to another queue, when it was there and had no alarm. Then it is for the broker to count:
/// what it never takes ends in the dead-letter queue after five deliveries.
const FAILED_MOVES: u32 = 5;

/// A message whose handler panics is given back after this, so that its five deliveries are not over in a moment.
const AFTER_A_PANIC: Duration = Duration::from_secs(1);

/// Has a verdict on messages; `None` where the handler panicked.
pub(crate) trait Judge: Sync {
    fn judge(
        &self,
        queue: &'static str,
        deliveries: &[Delivery],
    ) -> impl Future<Output = Vec<Option<Verdict>>> + Send;
}

/// A subscription on one connection.
pub(crate) struct Session<'a> {
    pub(crate) subscription: &'a Subscription,
    /// When it is time to stop, or when something failed on this connection: no more is taken, and nothing is waited for.
    pub(crate) over: CancellationToken,
    link: Arc<Link>,
    channel: Channel,
    keeping: AtomicUsize,
}

/// Messages that have to go to another queue and were not taken there yet. They stay unacknowledged.
#[derive(Default)]
pub(crate) struct Moving {
    messages: Vec<(Delivery, Posting)>,
    failures: u32,
}

impl Moving {
    pub(crate) fn is_empty(&self) -> bool {
        self.messages.is_empty()
    }
}

/// Which messages an acknowledgement covers.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Scope {
    /// Others are being handled at the same time.
    OneOfMany,
    /// There are no others, so that one acknowledgement may cover all.
    AllThereIs,
}

impl<'a> Session<'a> {
    pub(crate) fn new(subscription: &'a Subscription, link: Arc<Link>, channel: Channel) -> Self {
        let over = subscription.stop.child_token();
        Self { subscription, over, link, channel, keeping: AtomicUsize::new(0) }
    }

    /// The error of `result`; then the session is over.
    pub(crate) fn failure(&self, result: anyhow::Result<()>) -> Option<anyhow::Error> {
        let error = result.err()?;
        self.over.cancel();
        Some(error)
    }

    /// Whether messages are kept because a dependency of their handler is away.
    pub(crate) fn is_keeping(&self) -> bool {
        self.keeping.load(Ordering::Relaxed) > 0
    }

    /// The next message; an error when there are no more on this connection.
    pub(crate) async fn next(&self, deliveries: &mut Consumer) -> anyhow::Result<Delivery> {
        tokio::select! {
            biased;
            delivery = deliveries.next() => Ok(delivery.context("the broker cancelled the consumer")??),
            () = self.link.lost() => bail!("the connection was lost"),
        }
    }

    /// Handles `deliveries` until each has its end or has to go to another queue, or until the session is over; says which could not go there yet.
    /// Fails when the connection is lost.
    pub(crate) async fn work_off(
        &self,
        judge: &impl Judge,
        mut deliveries: Vec<Delivery>,
        scope: Scope,
    ) -> anyhow::Result<Moving> {
        let mut moving = Moving::default();
        let mut kept: Option<Kept<'_>> = None;
        let mut backoff = Backoff::new();
        loop {
            let verdicts = judge.judge(self.subscription.settings.queue, &deliveries).await;
            let all_done = verdicts.iter().all(|verdict| matches!(verdict, Some(Verdict::Done)));
            if all_done && scope == Scope::AllThereIs && kept.is_none() {
                self.acknowledge_all(&deliveries).await?;
                return Ok(moving);
            }
            let park = kept.as_ref().is_some_and(Kept::for_too_long);
            deliveries = self.settle(deliveries, verdicts, park, &mut moving).await?;
            self.try_to_move(&mut moving).await?;
            if deliveries.is_empty() {
                return Ok(moving);
            }
            // Giving a message back counts as a delivery, and five are all it has: a dependency that is away for a minute would end
            // in the dead-letter queue. So it is kept, unacknowledged, and handled again right here.
            kept.get_or_insert_with(|| Kept::begin(&self.keeping));
            rest(backoff.next_pause(), &self.over).await;
            if self.over.is_cancelled() {
                return Ok(Moving::default());
            }
            self.ensure_connected()?;
        }
    }

    /// Waits until the broker took all of them, or until the session is over. While it is short of memory or disk that may last, and to
    /// give them back would count as a delivery.
    pub(crate) async fn carry(&self, mut moving: Moving) -> anyhow::Result<()> {
        let mut backoff = Backoff::new();
        while !moving.is_empty() {
            rest(backoff.next_pause(), &self.over).await;
            if self.over.is_cancelled() {
                break;
            }
            self.try_to_move(&mut moving).await?;
        }
        Ok(())
    }

    /// Does what the verdicts say, except for what has to go to another queue, and returns the messages that have to be handled again.
    async fn settle(
        &self,
        deliveries: Vec<Delivery>,
        verdicts: Vec<Option<Verdict>>,
        park: bool,
        moving: &mut Moving,
    ) -> anyhow::Result<Vec<Delivery>> {
        let (mut again, mut panicked) = (vec![], vec![]);
        for (delivery, verdict) in deliveries.into_iter().zip(verdicts) {
            self.count(verdict.as_ref());
            match verdict {
                None => panicked.push(delivery),
                Some(Verdict::Requeue) if !park => again.push(delivery),
                Some(verdict) => match self.posting(&delivery, verdict) {
                    None => self.acknowledge(&delivery).await?,
                    Some(posting) => moving.messages.push((delivery, posting)),
                },
            }
        }
        if !panicked.is_empty() {
            rest(AFTER_A_PANIC, &self.over).await;
        }
        for delivery in panicked {
            let requeue = BasicNackOptions { requeue: true, ..BasicNackOptions::default() };
            let told = self.link.answer(delivery.nack(requeue)).await?;
            ensure!(told, "the channel was closed before a message was given back");
        }
        Ok(again)
    }

    /// Moves those that the broker takes.
    async fn try_to_move(&self, moving: &mut Moving) -> anyhow::Result<()> {
        if moving.is_empty() {
            return Ok(());
        }
        // What was delivered over a connection that is lost comes again, and would be there twice.
        self.ensure_connected()?;
        let broker = &self.subscription.publishing;
        let Ok(link) = broker.willing_link().await else { return Ok(()) };
        let (deliveries, postings): (Vec<_>, Vec<_>) =
            std::mem::take(&mut moving.messages).into_iter().unzip();
        let published = broker.publish_on(&link, &postings).await;
        let mut is_routable = true;
        for (moved, published) in deliveries.into_iter().zip(postings).zip(published) {
            match published {
                Ok(()) => self.acknowledge(&moved.0).await?,
                Err(PublishError::Unavailable(_) | PublishError::Refused) => moving.messages.push(moved),
                Err(PublishError::Unroutable) => is_routable = false,
            }
        }
        // Whoever consumes anew declares the delay queues anew.
        ensure!(is_routable, "there is no queue to move a message to");
        if !moving.is_empty() && !link.is_blocked() {
            moving.failures += 1;
            ensure!(moving.failures < FAILED_MOVES, "the broker does not take a message into another queue");
        }
        Ok(())
    }

    fn ensure_connected(&self) -> anyhow::Result<()> {
        ensure!(self.channel.status().connected(), "the connection was lost while messages were in hand");
        Ok(())
    }

    fn posting(&self, delivery: &Delivery, verdict: Verdict) -> Option<Posting> {
        let settings = &self.subscription.settings;
        let delayed = |delay| Posting::delayed(delivery, topology::delay_queue(settings.queue, delay), delay);
        match verdict {
            Verdict::Done => None,
            Verdict::RetryAfter(delay) => Some(delayed(delay)),
            Verdict::Requeue => Some(delayed(PARKED_FOR)),
            Verdict::Reject(reason) => {
                let message_id = delivery.properties.message_id();
                warn!(queue = settings.queue, message.id = ?message_id, "Rejected a message: {reason}");
                let rejected_by = self.subscription.service;
                let dead = settings.dead_letter_queue;
                Some(Posting::rejected(delivery, dead, settings.queue, &reason, rejected_by))
            }
        }
    }

    async fn acknowledge(&self, delivery: &Delivery) -> anyhow::Result<()> {
        let told = self.link.answer(delivery.ack(BasicAckOptions::default())).await?;
        ensure!(told, "the channel was closed before an acknowledgement");
        Ok(())
    }

    async fn acknowledge_all(&self, deliveries: &[Delivery]) -> anyhow::Result<()> {
        for _ in deliveries {
            self.count(Some(&Verdict::Done));
        }
        let Some(last) = deliveries.last() else { return Ok(()) };
        let all = BasicAckOptions { multiple: true };
        self.link.answer(self.channel.basic_ack(last.delivery_tag, all)).await
    }

    fn count(&self, verdict: Option<&Verdict>) {
        let verdict = verdict.map_or("panicked", Verdict::name);
        self.subscription.consuming.metrics.count_consumed(self.subscription.settings.queue, verdict);
    }
}

/// Says that messages are kept, for as long as it lives.
struct Kept<'a> {
    counter: &'a AtomicUsize,
    since: Instant,
}

impl<'a> Kept<'a> {
    fn begin(counter: &'a AtomicUsize) -> Self {
        counter.fetch_add(1, Ordering::Relaxed);
        Self { counter, since: Instant::now() }
    }

    fn for_too_long(&self) -> bool {
        self.since.elapsed() > KEPT_AT_MOST
    }
}

impl Drop for Kept<'_> {
    fn drop(&mut self) {
        self.counter.fetch_sub(1, Ordering::Relaxed);
    }
}
