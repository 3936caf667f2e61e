use std::{
    fmt, mem,
    sync::Mutex,
    time::{Duration, Instant},
};

use opentelemetry::{KeyValue, Value, trace::Status};
use opentelemetry_sdk::{
    Resource,
    error::OTelSdkResult,
    trace::{SpanData, SpanExporter},
};
use tracing::warn;

use crate::redact::{redact, redact_field};

/// How often a collector that is away is worth a line.
const REPORT_EVERY: Duration = Duration::from_mins(1);

/// Redacts spans before they leave, and is brief about a collector that does not take them.
pub(crate) struct RedactingExporter<E> {
    inner: E,
    failures: Mutex<Failures>,
}

#[derive(Default)]
struct Failures {
    reported_at: Option<Instant>,
    since: u64,
}

impl<E> RedactingExporter<E> {
    pub(crate) fn new(inner: E) -> Self {
        Self { inner, failures: Mutex::default() }
    }

    fn failed(&self, spans: usize, error: &impl fmt::Display) {
        let Ok(mut failures) = self.failures.lock() else { return };
        failures.since += u64::try_from(spans).unwrap_or(u64::MAX);
        if failures.reported_at.is_none_or(|at| at.elapsed() >= REPORT_EVERY) {
            failures.reported_at = Some(Instant::now());
            let lost = mem::take(&mut failures.since);
            warn!(%error, spans.lost = lost, "The collector did not take {lost} spans");
        }
    }
}

impl<E> fmt::Debug for RedactingExporter<E> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RedactingExporter").finish_non_exhaustive()
    }
}

impl<E: SpanExporter> SpanExporter for RedactingExporter<E> {
    async fn export(&self, mut batch: Vec<SpanData>) -> OTelSdkResult {
        batch.iter_mut().for_each(redact_span);
        let spans = batch.len();
        let result = self.inner.export(batch).await;
        if let Err(error) = &result {
            self.failed(spans, error);
        }
        result
    }

    fn shutdown_with_timeout(&self, timeout: Duration) -> OTelSdkResult {
        self.inner.shutdown_with_timeout(timeout)
    }

    fn force_flush(&self) -> OTelSdkResult {
        self.inner.force_flush()
    }

    fn set_resource(&mut self, resource: &Resource) {
        self.inner.set_resource(resource);
    }
}

fn redact_span(span: &mut SpanData) {
    redact_attributes(&mut span.attributes);
    for event in &mut span.events.events {
        event.name = redact(&event.name).into_owned().into();
        redact_attributes(&mut event.attributes);
    }
    if let Status::Error { description } = &mut span.status {
        *description = redact(description).into_owned().into();
    }
}

fn redact_attributes(attributes: &mut [KeyValue]) {
    for attribute in attributes {
        if let Value::String(text) = &attribute.value {
            attribute.value = redact_field(attribute.key.as_str(), text.as_str()).into_owned().into();
        }
    }
}
