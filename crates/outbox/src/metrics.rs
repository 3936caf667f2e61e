use prometheus::{Gauge, IntGauge, Registry};

use crate::store::Backlog;

/// What an operator sees of the outbox.
pub(crate) struct Metrics {
    pending: IntGauge,
    oldest_seconds: Gauge,
}

impl Metrics {
    pub(crate) fn register(registry: &Registry) -> prometheus::Result<Self> {
        let metrics = Self {
            pending: IntGauge::new(
                "outbox_pending",
                "Messages that wait in the outbox, counted up to 100 000.",
            )?,
            oldest_seconds: Gauge::new("outbox_oldest_seconds", "Age of the oldest message in the outbox.")?,
        };
        registry.register(Box::new(metrics.pending.clone()))?;
        registry.register(Box::new(metrics.oldest_seconds.clone()))?;
        Ok(metrics)
    }

    pub(crate) fn show(&self, backlog: &Backlog) {
        self.pending.set(backlog.pending);
        self.oldest_seconds.set(backlog.oldest_seconds.max(0.0));
    }
}
