use std::{future::Future, time::Duration};

use lapin::types::{AMQPValue, ShortString};

use crate::Sequence;

/// How to consume a queue.
#[derive(Debug, Clone)]
pub struct ConsumerSettings {
    /// The queue.
    pub queue: &'static str,
    /// Where rejected messages go, with the reason in headers `x-reason` and `x-rejected-by`.
    pub dead_letter_queue: &'static str,
    /// How many messages may be unacknowledged.
    pub prefetch: u16,
    /// The largest batch.
    pub batch_size: usize,
    /// How long the first message of a batch waits for more.
    pub batch_wait: Duration,
}

impl ConsumerSettings {
    /// For [`EventBus::consume`](crate::EventBus::consume), which has no use for batches.
    #[must_use]
    pub fn one_at_a_time(queue: &'static str, dead_letter_queue: &'static str, prefetch: u16) -> Self {
        Self { queue, dead_letter_queue, prefetch, batch_size: 1, batch_wait: Duration::ZERO }
    }
}

/// A message as it came.
#[derive(Debug, Clone)]
pub struct Delivery {
    /// `message_id`, if it had one.
    pub message_id: Option<String>,
    /// `type`, if it had one.
    pub message_type: Option<String>,
    /// `content_type`, if it had one.
    pub content_type: Option<String>,
    /// The trace context of whoever published it (header `traceparent`).
    pub traceparent: Option<String>,
    /// Where it stands among those of its publisher, for a fact.
    pub sequence: Option<Sequence>,
    /// Whether the broker delivered it before.
    pub redelivered: bool,
    /// The body.
    pub payload: Vec<u8>,
}

impl Delivery {
    pub(crate) fn new(delivery: &lapin::message::Delivery) -> Self {
        let properties = &delivery.properties;
        let traceparent = properties.headers().as_ref().and_then(|it| match it.inner().get("traceparent") {
            Some(AMQPValue::LongString(text)) => Some(text.to_string()),
            _ => None,
        });
        Self {
            message_id: properties.message_id().as_ref().map(ShortString::to_string),
            message_type: properties.kind().as_ref().map(ShortString::to_string),
            content_type: properties.content_type().as_ref().map(ShortString::to_string),
            traceparent,
            sequence: properties.headers().as_ref().and_then(Sequence::read),
            redelivered: delivery.redelivered,
            payload: delivery.data.clone(),
        }
    }
}

/// What became of a message.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Verdict {
    /// Done, and committed.
    Done,
    /// Cannot be done now: it comes back after at least this long, at the latest with the next step of the delay queues (10 s, 1 min, 10 min, 1 h),
    /// one of which has confirmed it before it is acknowledged here.
    RetryAfter(Duration),
    /// Cannot be done now because a dependency of ours is away: it is kept, unacknowledged, and handled again after growing pauses,
    /// and nothing else is taken meanwhile. Giving it back to the queue would use up its deliveries.
    Requeue,
    /// Can never be done: it goes to the dead-letter queue, with this reason.
    Reject(String),
}

impl Verdict {
    pub(crate) fn name(&self) -> &'static str {
        match self {
            Self::Done => "done",
            Self::RetryAfter(_) => "retry",
            Self::Requeue => "requeue",
            Self::Reject(_) => "reject",
        }
    }
}

/// Handles one message. Called inside a span that continues the publisher's trace.
pub trait Handler: Send + Sync + 'static {
    /// Handles `delivery`; idempotent, since it may come again.
    fn handle(&self, delivery: Delivery) -> impl Future<Output = Verdict> + Send;
}

/// Handles many messages at once.
pub trait BatchHandler: Send + Sync + 'static {
    /// Handles `deliveries`; one verdict for each, in their order.
    fn handle(&self, deliveries: Vec<Delivery>) -> impl Future<Output = Vec<Verdict>> + Send;
}
