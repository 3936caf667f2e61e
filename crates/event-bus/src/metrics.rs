use prometheus::{IntCounterVec, IntGauge, Opts, Registry};

use crate::publisher::PublishError;

/// What an operator sees of the bus. Clones count together.
#[derive(Clone)]
pub(crate) struct Metrics {
    published: IntCounterVec,
    consumed: IntCounterVec,
    pub(crate) connected: IntGauge,
    pub(crate) blocked: IntGauge,
}

impl Metrics {
    pub(crate) fn register(registry: &Registry) -> prometheus::Result<Self> {
        let published =
            Opts::new("amqp_published_total", "Messages that were published, by what became of them.");
        let consumed =
            Opts::new("amqp_consumed_total", "Messages that were handled, by the handler's verdict.");
        let metrics = Self {
            published: IntCounterVec::new(published, &["outcome"])?,
            consumed: IntCounterVec::new(consumed, &["queue", "verdict"])?,
            connected: IntGauge::new(
                "amqp_connected",
                "Whether the broker is connected: by the connection that consumes, in a service that does.",
            )?,
            blocked: IntGauge::new(
                "amqp_blocked",
                "Whether the broker takes no messages, because it is short of memory or disk.",
            )?,
        };
        registry.register(Box::new(metrics.published.clone()))?;
        registry.register(Box::new(metrics.consumed.clone()))?;
        Ok(metrics)
    }

    pub(crate) fn count_published(&self, result: &Result<(), PublishError>) {
        let outcome = match result {
            Ok(()) => "confirmed",
            Err(PublishError::Unroutable) => "unroutable",
            Err(PublishError::Refused) => "refused",
            Err(PublishError::Unavailable(_)) => "unavailable",
        };
        self.published.with_label_values(&[outcome]).inc();
    }

    pub(crate) fn count_consumed(&self, queue: &str, verdict: &str) {
        self.consumed.with_label_values(&[queue, verdict]).inc();
    }
}
