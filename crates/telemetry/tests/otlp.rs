//! Spans arrive at a collector, redacted.

use std::net::Ipv4Addr;

use opentelemetry_proto::tonic::{
    collector::trace::v1::{
        ExportTraceServiceRequest, ExportTraceServiceResponse,
        trace_service_server::{TraceService, TraceServiceServer},
    },
    trace::v1::Span,
};
use telemetry::{LogFormat, TelemetrySettings};
use tokio::{net::TcpListener, sync::mpsc, task::JoinSet};
use tokio_stream::wrappers::TcpListenerStream;
use tonic::{Request, Response, Status, transport::Server};
use tracing::{error, info, info_span};

struct Collector(mpsc::UnboundedSender<ExportTraceServiceRequest>);

#[tonic::async_trait]
impl TraceService for Collector {
    async fn export(
        &self,
        request: Request<ExportTraceServiceRequest>,
    ) -> Result<Response<ExportTraceServiceResponse>, Status> {
        self.0.send(request.into_inner()).ok();
        Ok(Response::new(ExportTraceServiceResponse::default()))
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn spans_arrive_at_the_collector() {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap();
    let address = listener.local_addr().unwrap();
    let (sender, mut received) = mpsc::unbounded_channel();
    let mut tasks = JoinSet::new();
    tasks.spawn(
        Server::builder()
            .add_service(TraceServiceServer::new(Collector(sender)))
            .serve_with_incoming(TcpListenerStream::new(listener)),
    );
    let telemetry = telemetry::init(&TelemetrySettings {
        service: "auth-api",
        version: "1.2.3",
        environment: "development".to_owned(),
        log_filter: "off".to_owned(),
        log_format: LogFormat::Json,
        otlp_endpoint: Some(format!("http://{address}").parse().unwrap()),
        trace_sample_ratio: 1.0,
    })
    .unwrap();

    let request = info_span!("request", otel.name = "http.auth.login", email = "jane@example.com");
    request.in_scope(|| {
        info_span!("inner", refresh_token = "s3cr3t").in_scope(|| error!("far_s3cr3ts3cr3t was reused"));
        info!("not part of the trace");
    });
    drop(request);
    telemetry.shutdown().await;

    let export = received.recv().await.unwrap();
    let resource = &export.resource_spans[0];
    let service = resource
        .resource
        .as_ref()
        .unwrap()
        .attributes
        .iter()
        .find(|attribute| attribute.key == "service.name");
    assert!(format!("{service:?}").contains("auth-api"));
    let spans: Vec<&Span> =
        export.resource_spans.iter().flat_map(|of| &of.scope_spans).flat_map(|of| &of.spans).collect();
    let names: Vec<&str> = spans.iter().map(|span| span.name.as_str()).collect();
    assert_eq!(names, ["inner", "http.auth.login"]);
    assert_eq!(spans[0].parent_span_id, spans[1].span_id);
    assert_eq!((spans[0].events.len(), spans[1].events.len()), (1, 0));
    let everything = format!("{export:?}");
    assert!(!everything.contains("s3cr3t") && !everything.contains("jane"), "{everything}");
}
