//! The trace goes on: W3C `traceparent` in and out of HTTP, gRPC and messages.

use http::{HeaderMap, HeaderName, HeaderValue};
use opentelemetry::{
    Context,
    propagation::{Extractor, Injector, TextMapPropagator},
    trace::TraceContextExt,
};
use opentelemetry_sdk::propagation::TraceContextPropagator;
use tracing::Span;
use tracing_opentelemetry::OpenTelemetrySpanExt;

/// The W3C traceparent of the current span, also when it is not sampled; `None` without a valid one.
#[must_use]
pub fn current_traceparent() -> Option<String> {
    let context = Span::current().context();
    let span = context.span();
    let span = span.span_context();
    span.is_valid().then(|| format!("00-{}-{}-{:02x}", span.trace_id(), span.span_id(), span.trace_flags()))
}

/// Names an exported span after what turned out to be its subject, a route for example. Recording the field `otel.name` has no effect any more once
/// the span's context was asked for.
pub fn rename(span: &Span, name: String) {
    span.context().span().update_name(name);
}

/// Makes `span` a child of the remote span that `traceparent` names. Does nothing when it names none. Call it before the span is entered.
pub fn continue_trace(span: &Span, traceparent: Option<&str>) {
    if let Some(traceparent) = traceparent {
        set_remote_parent(span, &Traceparent(traceparent));
    }
}

/// Makes `span` a child of the remote span that the headers name, if they do.
pub fn continue_trace_from_headers(span: &Span, headers: &HeaderMap) {
    set_remote_parent(span, &Headers(headers));
}

/// Adds the current span's `traceparent` and `tracestate`.
pub fn inject_into_headers(headers: &mut HeaderMap) {
    let context = Span::current().context();
    TraceContextPropagator::new().inject_context(&context, &mut HeadersMut(headers));
}

fn set_remote_parent(span: &Span, carrier: &dyn Extractor) {
    let context = TraceContextPropagator::new().extract_with_context(&Context::new(), carrier);
    if context.span().span_context().is_valid() {
        // It fails for a span that is disabled or has begun, and then the span has the parent that it has.
        span.set_parent(context).ok();
    }
}

struct Traceparent<'a>(&'a str);

impl Extractor for Traceparent<'_> {
    fn get(&self, key: &str) -> Option<&str> {
        (key == "traceparent").then_some(self.0)
    }

    fn keys(&self) -> Vec<&str> {
        vec!["traceparent"]
    }
}

struct Headers<'a>(&'a HeaderMap);

impl Extractor for Headers<'_> {
    fn get(&self, key: &str) -> Option<&str> {
        self.0.get(key)?.to_str().ok()
    }

    fn keys(&self) -> Vec<&str> {
        self.0.keys().map(HeaderName::as_str).collect()
    }
}

struct HeadersMut<'a>(&'a mut HeaderMap);

impl Injector for HeadersMut<'_> {
    fn set(&mut self, key: &str, value: String) {
        if let (Ok(name), Ok(value)) = (key.parse::<HeaderName>(), HeaderValue::try_from(value))
            && !value.is_empty()
        {
            self.0.insert(name, value);
        }
    }
}
