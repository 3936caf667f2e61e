//! What becomes of messages that were delivered.

use std::{
    future::Future,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use anyhow::{Context, bail};
use lapin::{
    Channel,
    message::Delivery,
    options::{BasicAckOptions, BasicNackOptions},
};
use tokio::time::Instant;
use tracing::warn;

use crate::{Verdict, backoff::Backoff, link::Link, posting::Posting, subscription::Subscription, topology};

/// The broker takes a message away that is unacknowledged for half an hour (`consumer_timeout`), which counts as a delivery. Long before,
/// a message whose handler still says `Requeue` is parked in a delay queue, where nothing is counted.
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
        let mut kept: Option<Kept<'_>> = None;
        let mut backoff = Backoff::new();
        loop {
            deliveries =
                self.settle(deliveries, verdicts, kept.as_ref().is_some_and(Kept::for_too_long)).await?;
            if deliveries.is_empty() {
                return Ok(());
            }
            // Giving a message back counts as a delivery, and five are all it has: a dependency that is away for a minute would end in
            // the dead-letter queue. So it is kept, unacknowledged, and tried again right here.
            kept.get_or_insert_with(|| Kept::begin(&self.keeping));
            self.subscription.rest(backoff.next_pause()).await;
            if self.subscription.stop.is_cancelled() {
                return Ok(());
            }
            if !self.channel.status().connected() {
                bail!("the connection was lost while messages were kept");
            }
            verdicts = judge.judge(self.subscription.settings.queue, &deliveries).await;
        }
    }

    /// Does what the verdicts say, and returns the messages that have to be handled again.
    async fn settle(
        &self,
        deliveries: Vec<Delivery>,
        verdicts: Vec<Option<Verdict>>,
        park: bool,
    ) -> anyhow::Result<Vec<Delivery>> {
        let (mut again, mut finished, mut panicked, mut postings) = (vec![], vec![], vec![], vec![]);
        for (delivery, verdict) in deliveries.into_iter().zip(verdicts) {
            self.count(verdict.as_ref());
            match verdict {
                None => panicked.push(delivery),
                Some(Verdict::Requeue) if !park => again.push(delivery),
                Some(verdict) => {
                    postings.extend(self.posting(&delivery, verdict));
                    finished.push(delivery);
                }
            }
        }
        for published in self.subscription.broker.publish(&self.link, &postings).await {
            published.context("cannot pass a message on")?;
        }
        for delivery in finished {
            self.link.answer(delivery.ack(BasicAckOptions::default())).await?;
        }
        if !panicked.is_empty() {
            self.subscription.rest(AFTER_A_PANIC).await;
        }
        for delivery in panicked {
            let requeue = BasicNackOptions { requeue: true, ..BasicNackOptions::default() };
            self.link.answer(delivery.nack(requeue)).await?;
        }
        Ok(again)
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
                let rejected_by = self.subscription.broker.service;
                let dead = settings.dead_letter_queue;
                Some(Posting::rejected(delivery, dead, settings.queue, &reason, rejected_by))
            }
        }
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
        self.subscription.broker.metrics.count_consumed(self.subscription.settings.queue, verdict);
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
