use std::{
    io::{self, IsTerminal},
    sync::{Arc, OnceLock},
    time::Duration,
};

use anyhow::Context as _;
use clock::SystemClock;
use opentelemetry::{KeyValue, global, trace::TracerProvider};
use opentelemetry_otlp::{SpanExporter, WithExportConfig, WithTonicConfig};
use opentelemetry_sdk::{
    Resource,
    propagation::TraceContextPropagator,
    trace::{BatchConfigBuilder, BatchSpanProcessor, Sampler, SdkTracerProvider},
};
use tonic::transport::ClientTlsConfig;
use tracing::{Dispatch, Level, Metadata, dispatcher, level_filters::LevelFilter};
use tracing_subscriber::{
    EnvFilter, Layer, Registry,
    filter::{FilterExt, filter_fn},
    fmt::MakeWriter,
    layer::SubscriberExt,
};
use url::Url;

use crate::{
    LogFormat, TelemetrySettings,
    export::RedactingExporter,
    log::{LogLayer, Style},
};

/// How long the last spans may take.
const FLUSH_TIMEOUT: Duration = Duration::from_secs(3);
/// How long one batch of spans may take.
const EXPORT_TIMEOUT: Duration = Duration::from_secs(3);
/// Spans that wait for the collector; more are dropped.
const QUEUE: usize = 4096;

/// Telemetry that is on; shut it down last.
#[derive(Debug)]
#[must_use = "spans that wait are lost without a shutdown"]
pub struct Telemetry {
    provider: SdkTracerProvider,
}

/// Installs the global subscriber, which writes to stdout, and the W3C propagator; call it once per process, inside a tokio runtime.
/// Fails when the log filter or the collector's address cannot be understood, never because the collector is away.
pub fn init(settings: &TelemetrySettings) -> anyhow::Result<Telemetry> {
    init_with_writer(settings, io::stdout, io::stdout().is_terminal())
}

/// The same for commands whose stdout is their result: lines go to stderr.
pub fn init_to_stderr(settings: &TelemetrySettings) -> anyhow::Result<Telemetry> {
    init_with_writer(settings, io::stderr, io::stderr().is_terminal())
}

impl Telemetry {
    /// Sends the spans that wait, within 3 s.
    pub async fn shutdown(self) {
        let provider = self.provider;
        // The SDK blocks its caller; a span that is lost here is not worth an error.
        let flush = tokio::task::spawn_blocking(move || provider.shutdown_with_timeout(FLUSH_TIMEOUT));
        tokio::time::timeout(FLUSH_TIMEOUT, flush).await.ok();
    }
}

fn init_with_writer<W>(settings: &TelemetrySettings, writer: W, terminal: bool) -> anyhow::Result<Telemetry>
where
    W: for<'a> MakeWriter<'a> + Send + Sync + 'static,
{
    let (dispatch, telemetry) = build(settings, writer, terminal)?;
    dispatcher::set_global_default(dispatch).context("telemetry was initialised before")?;
    global::set_text_map_propagator(TraceContextPropagator::new());
    Ok(telemetry)
}

/// Everything but what is global.
fn build<W>(settings: &TelemetrySettings, writer: W, terminal: bool) -> anyhow::Result<(Dispatch, Telemetry)>
where
    W: for<'a> MakeWriter<'a> + Send + Sync + 'static,
{
    let provider = tracer_provider(settings)?;
    let cell = Arc::new(OnceLock::new());
    let log_layer = LogLayer {
        service: settings.service,
        style: style(settings.log_format, terminal),
        writer,
        clock: Arc::new(SystemClock),
        dispatch: Arc::clone(&cell),
    };
    let filter =
        EnvFilter::builder().parse(&settings.log_filter).context("the log filter cannot be understood")?;
    // Spans are kept for the log whatever the filter says, so that a warning still carries the request it belongs to. The exporter's own
    // complaints are left out: `RedactingExporter` reports them, once a minute. So are messages that the broker returned, which lapin would log whole, and
    // channels that it closed: the bus has that as an error, and knows whether it is one.
    let log_filter = filter
        .or(filter_fn(|metadata: &Metadata<'_>| metadata.is_span() && *metadata.level() <= Level::INFO)
            .with_max_level_hint(LevelFilter::INFO))
        .and(filter_fn(|metadata: &Metadata<'_>| !is_never_logged(metadata.target())));
    // Errors become events of their spans; other log lines stay out of the trace.
    let trace_filter = filter_fn(|metadata: &Metadata<'_>| {
        let least = if metadata.is_span() { Level::INFO } else { Level::ERROR };
        *metadata.level() <= least && !metadata.target().starts_with("opentelemetry")
    })
    .with_max_level_hint(LevelFilter::INFO);
    let trace_layer = tracing_opentelemetry::layer()
        .with_tracer(provider.tracer("telemetry"))
        .with_location(false)
        .with_threads(false)
        .with_tracked_inactivity(false)
        .with_filter(trace_filter);

    let dispatch =
        Dispatch::new(Registry::default().with(log_layer.with_filter(log_filter)).with(trace_layer));
    cell.set(dispatch.downgrade()).ok();
    Ok((dispatch, Telemetry { provider }))
}

fn style(format: LogFormat, terminal: bool) -> Style {
    match format {
        LogFormat::Auto if terminal => Style::Pretty { colours: true },
        LogFormat::Pretty => Style::Pretty { colours: terminal },
        LogFormat::Auto | LogFormat::Json => Style::Json,
    }
}

fn tracer_provider(settings: &TelemetrySettings) -> anyhow::Result<SdkTracerProvider> {
    let builder = SdkTracerProvider::builder().with_resource(
        Resource::builder()
            .with_service_name(settings.service)
            .with_attribute(KeyValue::new("service.version", settings.version))
            .with_attribute(KeyValue::new("deployment.environment.name", settings.environment.clone()))
            .build(),
    );
    let Some(endpoint) = &settings.otlp_endpoint else {
        // Ids are made all the same, and the decision of a caller is handed on.
        return Ok(builder.with_sampler(Sampler::ParentBased(Box::new(Sampler::AlwaysOff))).build());
    };
    let batch = BatchConfigBuilder::default().with_max_queue_size(QUEUE).build();
    let processor = BatchSpanProcessor::builder(RedactingExporter::new(otlp_exporter(endpoint)?))
        .with_batch_config(batch)
        .build();
    let sampler = Sampler::TraceIdRatioBased(settings.trace_sample_ratio);
    Ok(builder.with_span_processor(processor).with_sampler(Sampler::ParentBased(Box::new(sampler))).build())
}

fn otlp_exporter(endpoint: &Url) -> anyhow::Result<SpanExporter> {
    let mut exporter = SpanExporter::builder()
        .with_tonic()
        .with_endpoint(endpoint.as_str().trim_end_matches('/'))
        .with_timeout(EXPORT_TIMEOUT);
    if endpoint.scheme() == "https" {
        exporter = exporter.with_tls_config(ClientTlsConfig::new().with_native_roots());
    }
    exporter.build().context("the collector's address cannot be used")
}

fn is_never_logged(target: &str) -> bool {
    target.starts_with("opentelemetry") || ["lapin::returned_messages", "lapin::channel"].contains(&target)
}

#[cfg(test)]
mod tests;
