use std::{future::Future, time::Duration};

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

/// A message as it came.
#[derive(Debug, Clone)]
pub struct Delivery {
    /// `message_id`, if it had one.
    pub message_id: Option<String>,
    /// `type`, if it had one.
    pub message_type: Option<String>,
    /// The trace context of whoever published it (header `traceparent`).
    pub traceparent: Option<String>,
    /// Whether the broker delivered it before.
    pub redelivered: bool,
    /// The body.
    pub payload: Vec<u8>,
}

/// What became of a message.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Verdict {
    /// Done, and committed.
    Done,
    /// Cannot be done now: it comes back after a delay queue of at least this long (10 s, 1 min, 10 min or 1 h), published there with confirmation before it
    /// is acknowledged here.
    RetryAfter(Duration),
    /// Cannot be done now because a dependency of ours is away: it goes back to the queue after a pause, and nothing else is taken meanwhile.
    Requeue,
    /// Can never be done: it goes to the dead-letter queue, with this reason.
    Reject(String),
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
