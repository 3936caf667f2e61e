use prometheus::{IntCounterVec, IntGauge, Opts, Registry};

/// What an operator sees of the limits.
pub(crate) struct Metrics {
    refused: IntCounterVec,
    pub(crate) degraded: IntGauge,
}

impl Metrics {
    pub(crate) fn register(registry: &Registry, limits: &[&str]) -> prometheus::Result<Self> {
        let refused = Opts::new("rate_limit_block_total", "Requests that a limit refused.");
        let metrics = Self {
            refused: IntCounterVec::new(refused, &["limit"])?,
            degraded: IntGauge::new(
                "rate_limit_degraded",
                "Whether Redis is away and this process limits by its own counts.",
            )?,
        };
        // A rate needs a series that is there before the first refusal.
        for limit in limits {
            metrics.refused.with_label_values(&[limit]);
        }
        registry.register(Box::new(metrics.refused.clone()))?;
        registry.register(Box::new(metrics.degraded.clone()))?;
        Ok(metrics)
    }

    pub(crate) fn count_refused(&self, limit: &str) {
        self.refused.with_label_values(&[limit]).inc();
    }
}
