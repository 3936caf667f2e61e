//! A trace goes from a client through a server to the collector, and probes are not part of any.

use std::{collections::BTreeMap, net::Ipv4Addr, time::Duration};

use auth_proto::mailer::v1::{
    self as proto, GetMessageRequest, GetMessageResponse, ListMessagesRequest, ListMessagesResponse,
    mailer_service_client::MailerServiceClient,
    mailer_service_server::{MailerService, MailerServiceServer},
};
use opentelemetry_proto::tonic::{
    collector::trace::v1::{
        ExportTraceServiceRequest, ExportTraceServiceResponse,
        trace_service_server::{TraceService, TraceServiceServer},
    },
    trace::v1::Span,
};
use service_runtime::{
    Lifecycle, Registry, ShutdownSettings, Transport,
    grpc::{MethodPolicy, Server, ServerSettings, connect_lazy},
};
use telemetry::{LogFormat, TelemetrySettings};
use tokio::{net::TcpListener, sync::mpsc, task::JoinSet};
use tokio_stream::wrappers::TcpListenerStream;
use tonic::{Request, Response, Status, service::Routes};
use tonic_health::pb::{HealthCheckRequest, health_client::HealthClient};
use tracing::{Instrument, info_span};

struct Mailer;

#[tonic::async_trait]
impl MailerService for Mailer {
    async fn get_message(
        &self,
        _request: Request<GetMessageRequest>,
    ) -> Result<Response<GetMessageResponse>, Status> {
        Err(Status::not_found("There is no such message."))
    }

    async fn list_messages(
        &self,
        _request: Request<ListMessagesRequest>,
    ) -> Result<Response<ListMessagesResponse>, Status> {
        Err(Status::unimplemented("It is not part of this test."))
    }

    async fn retry(
        &self,
        _request: Request<proto::RetryRequest>,
    ) -> Result<Response<proto::RetryResponse>, Status> {
        Err(Status::unimplemented("It is not part of this test."))
    }

    async fn cancel(
        &self,
        _request: Request<proto::CancelRequest>,
    ) -> Result<Response<proto::CancelResponse>, Status> {
        Err(Status::unimplemented("It is not part of this test."))
    }

    async fn list_dead_letters(
        &self,
        _request: Request<proto::ListDeadLettersRequest>,
    ) -> Result<Response<proto::ListDeadLettersResponse>, Status> {
        Err(Status::unimplemented("It is not part of this test."))
    }

    async fn redrive(
        &self,
        _request: Request<proto::RedriveRequest>,
    ) -> Result<Response<proto::RedriveResponse>, Status> {
        Err(Status::unimplemented("It is not part of this test."))
    }

    async fn render_preview(
        &self,
        _request: Request<proto::RenderPreviewRequest>,
    ) -> Result<Response<proto::RenderPreviewResponse>, Status> {
        Err(Status::unimplemented("It is not part of this test."))
    }

    async fn send_test(
        &self,
        _request: Request<proto::SendTestRequest>,
    ) -> Result<Response<proto::SendTestResponse>, Status> {
        Err(Status::unimplemented("It is not part of this test."))
    }

    async fn provider_status(
        &self,
        _request: Request<proto::ProviderStatusRequest>,
    ) -> Result<Response<proto::ProviderStatusResponse>, Status> {
        Err(Status::unimplemented("It is not part of this test."))
    }
}

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
async fn calls_are_traced_and_probes_are_not() {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap();
    let endpoint = format!("http://{}", listener.local_addr().unwrap()).parse().unwrap();
    let (sender, mut received) = mpsc::unbounded_channel();
    let mut tasks = JoinSet::new();
    tasks.spawn(
        tonic::transport::Server::builder()
            .add_service(TraceServiceServer::new(Collector(sender)))
            .serve_with_incoming(TcpListenerStream::new(listener)),
    );
    let telemetry = telemetry::init(&TelemetrySettings {
        service: "mailer",
        version: "1.2.3",
        environment: "development".to_owned(),
        log_filter: "off".to_owned(),
        log_format: LogFormat::Json,
        otlp_endpoint: Some(endpoint),
        trace_sample_ratio: 1.0,
    })
    .unwrap();

    let lifecycle = Lifecycle::new(ShutdownSettings { delay: Duration::ZERO, drain: Duration::from_secs(5) });
    lifecycle.readiness().require("traced", || {
        Box::pin(async {
            info_span!("probe").in_scope(|| ());
            Ok(())
        })
    });
    let settings = ServerSettings {
        listen: (Ipv4Addr::LOCALHOST, 0).into(),
        transport: Transport::Plaintext,
        reflection: false,
    };
    let server = Server::bind(settings, &Registry::new()).await.unwrap();
    let address = format!("http://{}", server.local_addr()).parse().unwrap();
    let policy = MethodPolicy::new(&[("/feature_auth.mailer.v1.MailerService/GetMessage", &["auth-api"])]);
    let serving = server.serve(Routes::new(MailerServiceServer::new(Mailer)), policy, lifecycle.clone());
    lifecycle.spawn("grpc", async move { serving.await.unwrap() });
    let channel = connect_lazy(&address, &Transport::Plaintext).unwrap();

    HealthClient::new(channel.clone()).check(HealthCheckRequest::default()).await.unwrap();
    lifecycle.readiness().report().await;
    MailerServiceClient::new(channel)
        .get_message(GetMessageRequest::default())
        .instrument(info_span!("caller"))
        .await
        .unwrap_err();
    lifecycle.request_shutdown();
    lifecycle.wait_for_tasks().await;
    telemetry.shutdown().await;

    let mut spans: BTreeMap<String, Span> = BTreeMap::new();
    while let Ok(export) = received.try_recv() {
        let exported =
            export.resource_spans.into_iter().flat_map(|of| of.scope_spans).flat_map(|of| of.spans);
        spans.extend(exported.map(|span| (span.name.clone(), span)));
    }
    assert_eq!(spans.keys().collect::<Vec<_>>(), ["caller", "rpc.mailer.get_message"]);
    let (caller, call) = (&spans["caller"], &spans["rpc.mailer.get_message"]);
    assert_eq!(call.trace_id, caller.trace_id);
    assert_eq!(call.parent_span_id, caller.span_id);
    assert!(format!("{call:?}").contains("NOT_FOUND"));
}
