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
use tracing::warn;

use crate::{
    PublishError, Verdict, backoff::Backoff, link::Link, posting::Posting, subscription::Subscription,
    topology,
};

/// The broker takes a message away that is unacknowledged for half an hour (`consumer_timeout`), which counts as a delivery. Long before,
/// a message whose handler still says `Requeue` is parked in a delay queue, where nothing is counted, if the broker takes it there.
const KEPT_AT_MOST: Duration = Duration::from_mins(10);
const PARKED_FOR: Duration = Duration::from_mins(1);

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
    link: Arc<Link>,
    channel: Channel,
    keeping: AtomicUsize,
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
        Self { subscription, link, channel, keeping: AtomicUsize::new(0) }
    }

    /// Whether messages are kept because a dependency is away.
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

    /// Handles `deliveries` until each has its end, or until it is time to stop. Fails when the connection is lost.
    pub(crate) async fn work_off(
        &self,
        judge: &impl Judge,
        mut deliveries: Vec<Delivery>,
        scope: Scope,
    ) -> anyhow::Result<()> {
        let mut verdicts = judge.judge(self.subscription.settings.queue, &deliveries).await;
        let all_done = verdicts.iter().all(|verdict| matches!(verdict, Some(Verdict::Done)));
        if all_done && scope == Scope::AllThereIs {
            return self.acknowledge_all(&deliveries).await;
        }
        let mut moving = Vec::new();
        let mut kept: Option<Kept<'_>> = None;
        let mut backoff = Backoff::new();
        loop {
            let park = kept.as_ref().is_some_and(Kept::for_too_long);
            deliveries = self.settle(deliveries, verdicts, park, &mut moving).await?;
            moving = self.move_on(moving).await?;
            if deliveries.is_empty() && moving.is_empty() {
                return Ok(());
            }
            // Giving a message back counts as a delivery, and five are all it has: a dependency that is away for a minute, or a broker that
            // takes nothing for a while, would end in the dead-letter queue. So it is kept, unacknowledged, and tried again right here.
            kept.get_or_insert_with(|| Kept::begin(&self.keeping));
            self.subscription.rest(backoff.next_pause()).await;
            if self.subscription.stop.is_cancelled() {
                return Ok(());
            }
            self.ensure_connected()?;
            verdicts = match &*deliveries {
                [] => Vec::new(),
                deliveries => judge.judge(self.subscription.settings.queue, deliveries).await,
            };
        }
    }

    /// Does what the verdicts say, puts what has to go to another queue with what is `moving` there, and returns the messages that have to
    /// be handled again.
    async fn settle(
        &self,
        deliveries: Vec<Delivery>,
        verdicts: Vec<Option<Verdict>>,
        park: bool,
        moving: &mut Vec<(Delivery, Posting)>,
    ) -> anyhow::Result<Vec<Delivery>> {
        let (mut again, mut panicked) = (vec![], vec![]);
        for (delivery, verdict) in deliveries.into_iter().zip(verdicts) {
            self.count(verdict.as_ref());
            match verdict {
                None => panicked.push(delivery),
                Some(Verdict::Requeue) if !park => again.push(delivery),
                Some(verdict) => match self.posting(&delivery, verdict) {
                    None => self.acknowledge(&delivery).await?,
                    Some(posting) => moving.push((delivery, posting)),
                },
            }
        }
        if !panicked.is_empty() {
            self.subscription.rest(AFTER_A_PANIC).await;
        }
        for delivery in panicked {
            let requeue = BasicNackOptions { requeue: true, ..BasicNackOptions::default() };
            let told = self.link.answer(delivery.nack(requeue)).await?;
            ensure!(told, "the channel was closed before a message was given back");
        }
        Ok(again)
    }

    /// Moves messages to other queues, and returns those that the broker does not take at the moment.
    async fn move_on(&self, moving: Vec<(Delivery, Posting)>) -> anyhow::Result<Vec<(Delivery, Posting)>> {
        if moving.is_empty() {
            return Ok(moving);
        }
        // What was delivered over a connection that is lost comes again, and would be there twice.
        self.ensure_connected()?;
        let (deliveries, postings): (Vec<_>, Vec<_>) = moving.into_iter().unzip();
        let published = self.subscription.publishing.publish(&postings).await;
        let mut left = Vec::new();
        for (moved, published) in deliveries.into_iter().zip(postings).zip(published) {
            match published {
                Ok(()) => self.acknowledge(&moved.0).await?,
                Err(PublishError::Unavailable(_) | PublishError::Refused) => left.push(moved),
                // Whoever consumes anew declares the delay queues anew.
                Err(PublishError::Unroutable) => bail!("there is no queue to move a message to"),
            }
        }
        Ok(left)
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
