use std::collections::BTreeMap;

use clock::SharedClock;
use prometheus::{
    Histogram, HistogramOpts, IntCounter, IntCounterVec, IntGauge, IntGaugeVec, Opts, Registry,
};

use crate::lag::Lag;

/// What operators see of the ingest. Clones count into the same metrics.
#[derive(Clone)]
pub struct Metrics {
    pub ingested: IntCounterVec,
    pub duplicates: IntCounter,
    pub rejected: IntCounterVec,
    pub batch_size: Histogram,
    pub lag: Lag,
    pub producer_gaps: IntCounterVec,
    pub checkpoint_seq: IntGauge,
    pub checkpoint_failures: IntCounterVec,
    pub queue_length: IntGaugeVec,
}

impl Metrics {
    /// Makes and registers them.
    pub fn register(registry: &Registry, clock: SharedClock) -> prometheus::Result<Self> {
        let metrics = Self {
            ingested: IntCounterVec::new(
                Opts::new("audit_ingested_total", "Events added to the log."),
                &["type"],
            )?,
            duplicates: IntCounter::new("audit_duplicates_total", "Events that were delivered again.")?,
            rejected: IntCounterVec::new(
                Opts::new("audit_rejected_total", "Messages that went to the dead-letter queue."),
                &["reason"],
            )?,
            batch_size: Histogram::with_opts(
                HistogramOpts::new("audit_batch_size", "Messages that were handled together.")
                    .buckets(vec![1.0, 2.0, 4.0, 8.0, 16.0, 32.0, 64.0, 128.0, 256.0, 512.0]),
            )?,
            lag: Lag::new(clock)?,
            producer_gaps: IntCounterVec::new(
                Opts::new(
                    "audit_producer_gaps_total",
                    "Facts that the broker confirmed to their publisher and that never arrived.",
                ),
                &["source"],
            )?,
            checkpoint_seq: IntGauge::new(
                "audit_checkpoint_seq",
                "The seq of the last checkpoint that this process signed.",
            )?,
            checkpoint_failures: IntCounterVec::new(
                Opts::new(
                    "audit_checkpoint_failures_total",
                    "Rounds in which no checkpoint could be signed.",
                ),
                &["reason"],
            )?,
            queue_length: IntGaugeVec::new(
                Opts::new("audit_queue_length", "Messages that wait in a queue."),
                &["queue"],
            )?,
        };
        registry.register(Box::new(metrics.ingested.clone()))?;
        registry.register(Box::new(metrics.duplicates.clone()))?;
        registry.register(Box::new(metrics.rejected.clone()))?;
        registry.register(Box::new(metrics.batch_size.clone()))?;
        registry.register(Box::new(metrics.lag.clone()))?;
        registry.register(Box::new(metrics.producer_gaps.clone()))?;
        registry.register(Box::new(metrics.checkpoint_seq.clone()))?;
        registry.register(Box::new(metrics.checkpoint_failures.clone()))?;
        registry.register(Box::new(metrics.queue_length.clone()))?;
        Ok(metrics)
    }

    /// So many facts of each source never arrived.
    pub fn count_lost(&self, lost: BTreeMap<String, i64>) {
        for (source, count) in lost {
            let count = u64::try_from(count).unwrap_or_default();
            self.producer_gaps.with_label_values(&[&*source]).inc_by(count);
        }
    }
}
