//! Log lines: every event with the fields of its spans, redacted, as one line of JSON or for people.

mod fields;
mod json;
mod pretty;

use std::{
    io::Write,
    sync::{Arc, OnceLock},
};

use chrono::{DateTime, Utc};
use clock::SharedClock;
use opentelemetry::trace::{SpanContext, TraceContextExt};
use tracing::{
    Event, Level, Subscriber,
    dispatcher::WeakDispatch,
    span::{Attributes, Id, Record},
};
use tracing_subscriber::{
    Layer,
    fmt::MakeWriter,
    layer::Context,
    registry::{LookupSpan, SpanRef},
};

use fields::Fields;

/// How a line is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Style {
    Json,
    Pretty { colours: bool },
}

/// Writes a line per event.
pub(crate) struct LogLayer<W> {
    pub(crate) service: &'static str,
    pub(crate) style: Style,
    pub(crate) writer: W,
    pub(crate) clock: SharedClock,
    /// The subscriber that this layer is part of, which knows the trace that a span belongs to.
    pub(crate) dispatch: Arc<OnceLock<WeakDispatch>>,
}

/// What a line says.
struct Line<'a> {
    timestamp: DateTime<Utc>,
    level: Level,
    service: &'static str,
    target: &'a str,
    message: String,
    span: Option<String>,
    trace: Option<SpanContext>,
    fields: Fields,
}

impl<S, W> Layer<S> for LogLayer<W>
where
    S: Subscriber + for<'a> LookupSpan<'a>,
    W: for<'a> MakeWriter<'a> + 'static,
{
    fn on_new_span(&self, attributes: &Attributes<'_>, id: &Id, context: Context<'_, S>) {
        let mut fields = Fields::default();
        attributes.record(&mut fields);
        if let Some(span) = context.span(id) {
            span.extensions_mut().insert(fields);
        }
    }

    fn on_record(&self, id: &Id, values: &Record<'_>, context: Context<'_, S>) {
        if let Some(span) = context.span(id)
            && let Some(fields) = span.extensions_mut().get_mut::<Fields>()
        {
            values.record(fields);
        }
    }

    fn on_event(&self, event: &Event<'_>, context: Context<'_, S>) {
        let span = context.event_span(event);
        let mut fields = Fields::default();
        for ancestor in span.iter().flat_map(SpanRef::scope).collect::<Vec<_>>().iter().rev() {
            if let Some(of_span) = ancestor.extensions().get::<Fields>() {
                fields.extend(of_span);
            }
        }
        let span_name =
            span.as_ref().map(|span| fields.take("otel.name").unwrap_or_else(|| span.name().to_owned()));
        event.record(&mut fields);
        let mut fields = fields.redacted();
        let line = Line {
            timestamp: self.clock.now(),
            level: *event.metadata().level(),
            service: self.service,
            target: event.metadata().target(),
            message: fields.take("message").unwrap_or_default(),
            span: span_name,
            trace: span.and_then(|span| self.trace_of(&span.id())),
            fields,
        };
        let text = match self.style {
            Style::Json => json::render(&line),
            Style::Pretty { colours } => pretty::render(&line, colours),
        };
        // There is nowhere to report to when the log itself cannot be written.
        self.writer.make_writer().write_all(text.as_bytes()).ok();
    }
}

impl<W> LogLayer<W> {
    fn trace_of(&self, span: &Id) -> Option<SpanContext> {
        let dispatch = self.dispatch.get()?.upgrade()?;
        let context = tracing_opentelemetry::get_otel_context(span, &dispatch)?;
        Some(context.span().span_context().clone()).filter(SpanContext::is_valid)
    }
}
