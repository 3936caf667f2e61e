//! The edge to the broker: messages in, verdicts out.

use std::time::Duration;

use auth_events::routing::{AUDIT_DEAD_QUEUE, AUDIT_QUEUE};
use clock::{Clock, SystemClock};
use event_bus::{BatchHandler, ConsumerSettings, Delivery, Sequence, Verdict};
use tracing::{Span, info_span, warn};

use crate::{
    app::{Arrival, AuditLog, Fate},
    domain::{Event, Rejection, parse_event},
    metrics::Metrics,
    vouching::NewRows,
};

/// How `audit.events` is consumed. A batch waits hardly longer than a commit takes: under load it fills at once, and without
/// load an event should be found soon.
#[must_use]
pub fn settings() -> ConsumerSettings {
    ConsumerSettings {
        queue: AUDIT_QUEUE,
        dead_letter_queue: AUDIT_DEAD_QUEUE,
        prefetch: 1_024,
        batch_size: 512,
        batch_wait: Duration::from_millis(20),
    }
}

/// Records what is delivered.
pub struct Recorder {
    log: AuditLog,
    metrics: Metrics,
    new_rows: NewRows,
}

impl Recorder {
    #[must_use]
    pub fn new(log: AuditLog, metrics: Metrics, new_rows: NewRows) -> Self {
        Self { log, metrics, new_rows }
    }

    async fn record(&self, events: &[Event]) -> Vec<Fate> {
        if let Some(oldest) = events.iter().map(|event| event.occurred_at).min() {
            self.metrics.lag.take(oldest);
        }
        let recording = self.log.record(events).await;
        self.new_rows.add(recording.new_types.len());
        for name in &recording.new_types {
            self.metrics.ingested.with_label_values(&[name]).inc();
        }
        let recorded = recording.fates.iter().filter(|fate| **fate == Fate::Recorded).count();
        self.metrics.duplicates.inc_by(recorded.saturating_sub(recording.new_types.len()) as u64);
        if !recording.fates.contains(&Fate::Postponed) {
            self.metrics.lag.done();
        }
        recording.fates
    }

    /// Whether it is noted what arrived, so that what does not arrive will be noticed.
    async fn note_arrivals(
        &self,
        deliveries: &[Delivery],
        parsed: &[Result<(), Rejection>],
        events: &[Event],
    ) -> bool {
        let mut events = events.iter();
        let arrived: Vec<Arrival> = deliveries
            .iter()
            .zip(parsed)
            .filter_map(|(delivery, parsed)| {
                let source =
                    parsed.is_ok().then(|| events.next()).flatten().map(|event| event.source.clone());
                let Sequence { publisher, number, settled } = delivery.sequence?;
                Some(Arrival { publisher, number, settled, source })
            })
            .collect();
        match self.log.note_arrivals(&arrived, SystemClock.now()).await {
            Ok(lost) => {
                self.metrics.count_lost(lost);
                true
            }
            Err(failure) => {
                let cause: &dyn std::error::Error = &failure;
                warn!(error = cause, "Could not note what arrived; it comes again");
                false
            }
        }
    }

    /// The bus logs the reason and puts it into the dead letter's headers.
    fn reject(&self, span: &Span, rejection: &Rejection) -> Verdict {
        let code = rejection.code();
        span.record("rejected", code);
        self.metrics.rejected.with_label_values(&[code]).inc();
        Verdict::Reject(format!("{code}: {rejection}"))
    }
}

impl BatchHandler for Recorder {
    async fn handle(&self, deliveries: Vec<Delivery>) -> Vec<Verdict> {
        #[expect(clippy::cast_precision_loss, reason = "a batch has no 2^52 messages")]
        self.metrics.batch_size.observe(deliveries.len() as f64);
        // They end with the batch: in the trace of each request it shows when its event was safe.
        let spans: Vec<Span> = deliveries.iter().map(span).collect();
        let mut events = Vec::with_capacity(deliveries.len());
        let mut parsed = Vec::with_capacity(deliveries.len());
        for delivery in &deliveries {
            let event = parse_event(&delivery.payload, delivery.traceparent.as_deref());
            parsed.push(event.map(|event| events.push(event)));
        }
        let mut fates = self.record(&events).await.into_iter();
        if !self.note_arrivals(&deliveries, &parsed, &events).await {
            // Nothing is recorded twice when all of it comes again.
            return vec![Verdict::Requeue; deliveries.len()];
        }
        let verdict = |(parsed, span): (Result<(), Rejection>, &Span)| match parsed {
            Err(rejection) => self.reject(span, &rejection),
            Ok(()) => match fates.next() {
                Some(Fate::Recorded) => Verdict::Done,
                Some(Fate::Refused) => self.reject(span, &Rejection::RefusedByDatabase),
                Some(Fate::Postponed) | None => Verdict::Requeue,
            },
        };
        parsed.into_iter().zip(&spans).map(verdict).collect()
    }
}

fn span(delivery: &Delivery) -> Span {
    let id = delivery.message_id.as_deref().unwrap_or_default();
    let span = info_span!(
        "consumer.audit.record",
        message.id = id,
        message.redelivered = delivery.redelivered,
        rejected = tracing::field::Empty,
    );
    telemetry::propagation::continue_trace(&span, delivery.traceparent.as_deref());
    span
}
