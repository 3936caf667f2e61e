//! Mutual TLS, the method policy, deadlines, panics, health and metrics of gRPC, with the mailer's service as an example.
#![expect(clippy::unwrap_used, clippy::expect_used, reason = "a test may panic")]

use std::{
    future,
    net::{Ipv4Addr, SocketAddr},
    sync::{Arc, Mutex},
    time::Duration,
};

use auth_proto::mailer::v1::{
    self as proto, GetMessageRequest, GetMessageResponse, ListMessagesRequest, ListMessagesResponse, Message,
    mailer_service_client::MailerServiceClient,
    mailer_service_server::{MailerService, MailerServiceServer},
};
use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, IsCa, KeyPair, SanType};
use service_runtime::{
    Lifecycle, Registry, ShutdownSettings, TlsIdentity, Transport,
    grpc::{Caller, Channel, MAX_MESSAGE_BYTES, MethodPolicy, Server, ServerSettings, connect_lazy},
};
use tonic::{Code, Request, Response, Status, service::Routes};
use tonic_health::pb::{
    HealthCheckRequest, HealthCheckResponse, health_check_response::ServingStatus,
    health_client::HealthClient,
};
use tonic_reflection::pb::v1::{
    ServerReflectionRequest, server_reflection_client::ServerReflectionClient,
    server_reflection_request::MessageRequest,
};

const GET: &str = "/feature_auth.mailer.v1.MailerService/GetMessage";

/// `ListMessages` is not listed.
const RULES: &[(&str, &[&str])] = &[(GET, &["auth-api", "operator"])];

struct Mailer;

#[tonic::async_trait]
impl MailerService for Mailer {
    /// The id says what happens.
    async fn get_message(
        &self,
        request: Request<GetMessageRequest>,
    ) -> Result<Response<GetMessageResponse>, Status> {
        let caller = request.extensions().get::<Caller>().unwrap().name();
        match request.get_ref().id.as_str() {
            "hangs" => future::pending().await,
            "panics" => panic!("as the test wants it"),
            "missing" => Err(Status::not_found("There is no such message.")),
            _ => {
                let message = Message { to: caller, ..Message::default() };
                Ok(Response::new(GetMessageResponse { message: Some(message), history: Vec::new() }))
            }
        }
    }

    async fn list_messages(
        &self,
        _request: Request<ListMessagesRequest>,
    ) -> Result<Response<ListMessagesResponse>, Status> {
        Ok(Response::new(ListMessagesResponse::default()))
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

struct Authority(CertifiedIssuer<'static, KeyPair>);

impl Authority {
    fn new() -> Self {
        let mut parameters = CertificateParams::default();
        parameters.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        Self(CertifiedIssuer::self_signed(parameters, KeyPair::generate().unwrap()).unwrap())
    }

    fn issue(&self, uris: &[&str]) -> Transport {
        let key = KeyPair::generate().unwrap();
        let mut parameters = CertificateParams::new(vec!["localhost".to_owned()]).unwrap();
        parameters.subject_alt_names.extend(uris.iter().map(|uri| SanType::URI((*uri).try_into().unwrap())));
        let certificate = parameters.signed_by(&key, &self.0).unwrap();
        Transport::MutualTls(TlsIdentity {
            ca: self.0.pem().into_bytes(),
            certificate: certificate.pem().into_bytes(),
            key: key.serialize_pem().into_bytes(),
        })
    }
}

struct Running {
    address: SocketAddr,
    lifecycle: Lifecycle,
    registry: Registry,
    denied: Arc<Mutex<Vec<(String, String)>>>,
}

impl Running {
    async fn start(transport: Transport) -> Self {
        Self::start_with(transport, true).await
    }

    async fn start_with(transport: Transport, reflection: bool) -> Self {
        rustls::crypto::ring::default_provider().install_default().ok();
        let registry = Registry::new();
        let lifecycle =
            Lifecycle::new(ShutdownSettings { delay: Duration::ZERO, drain: Duration::from_secs(5) });
        let settings = ServerSettings { listen: (Ipv4Addr::LOCALHOST, 0).into(), transport, reflection };
        let server = Server::bind(settings, &registry).await.unwrap();
        let address = server.local_addr();
        let denied = Arc::new(Mutex::new(Vec::new()));
        let log = Arc::clone(&denied);
        let policy = MethodPolicy::new(RULES).on_denied(move |caller, method| {
            log.lock().unwrap().push((caller.name(), method.to_owned()));
        });
        let service = MailerServiceServer::new(Mailer).max_decoding_message_size(MAX_MESSAGE_BYTES);
        let serving = server.serve(Routes::new(service), policy, lifecycle.clone());
        lifecycle.spawn("grpc", async move { serving.await.expect("the server serves") });
        Self { address, lifecycle, registry, denied }
    }

    fn channel(&self, transport: &Transport) -> Channel {
        let scheme = if matches!(transport, Transport::Plaintext) { "http" } else { "https" };
        let address = format!("{scheme}://localhost:{}", self.address.port()).parse().unwrap();
        connect_lazy(&address, transport).unwrap()
    }

    async fn get(&self, transport: &Transport, id: &str) -> Result<String, Status> {
        let mut client = MailerServiceClient::new(self.channel(transport));
        let answer = client.get_message(GetMessageRequest { id: id.to_owned() }).await?;
        Ok(answer.into_inner().message.unwrap().to)
    }

    fn metrics(&self) -> String {
        telemetry::metrics::encode(&self.registry).unwrap()
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        self.lifecycle.request_shutdown();
    }
}

#[tokio::test]
async fn a_role_may_call_what_the_policy_lists() {
    let authority = Authority::new();
    let server = Running::start(authority.issue(&["spiffe://feature-auth/mailer"])).await;
    let auth_api = authority.issue(&["spiffe://feature-auth/auth-api"]);
    let operator = authority.issue(&["spiffe://feature-auth/operator/jo"]);
    assert_eq!(server.get(&auth_api, "1").await.unwrap(), "auth-api");
    assert_eq!(server.get(&operator, "1").await.unwrap(), "operator/jo");
    assert!(server.denied.lock().unwrap().is_empty());
}

#[tokio::test]
async fn another_role_and_an_unlisted_method_are_refused() {
    let authority = Authority::new();
    let server = Running::start(authority.issue(&["spiffe://feature-auth/mailer"])).await;
    let internal = authority.issue(&["spiffe://feature-auth/internal/demo"]);
    let refused = server.get(&internal, "1").await.unwrap_err();
    assert_eq!(refused.code(), Code::PermissionDenied);
    assert_eq!(service_error::error_reason(&refused).as_deref(), Some("caller_not_allowed"));

    for uris in [
        &[][..],
        &["spiffe://feature-auth/auth-api", "spiffe://feature-auth/operator"],
        &["spiffe://other/auth-api"],
    ] {
        let refused = server.get(&authority.issue(uris), "1").await.unwrap_err();
        assert_eq!(refused.code(), Code::PermissionDenied, "{uris:?}");
    }

    let operator = authority.issue(&["spiffe://feature-auth/operator"]);
    let mut client = MailerServiceClient::new(server.channel(&operator));
    let refused = client.list_messages(ListMessagesRequest::default()).await.unwrap_err();
    assert_eq!(refused.code(), Code::PermissionDenied);

    let denied = server.denied.lock().unwrap().clone();
    assert_eq!(denied[0], ("internal/demo".to_owned(), GET.to_owned()));
    assert_eq!(denied.len(), 5);
    let metrics = server.metrics();
    let service = "feature_auth.mailer.v1.MailerService";
    for line in [
        format!(
            r#"grpc_calls_denied_total{{grpc_method="GetMessage",grpc_service="{service}",role="internal"}} 1"#
        ),
        r#"grpc_calls_denied_total{grpc_method="unknown",grpc_service="unknown",role="operator"} 1"#
            .to_owned(),
    ] {
        assert!(metrics.contains(&line), "{line} is missing in {metrics}");
    }
}

#[tokio::test]
async fn a_certificate_of_another_authority_or_none_is_refused() {
    let (authority, stranger) = (Authority::new(), Authority::new());
    let server = Running::start(authority.issue(&["spiffe://feature-auth/mailer"])).await;
    // It trusts our authority, and proves itself by another.
    let (Transport::MutualTls(ours), Transport::MutualTls(theirs)) = (
        authority.issue(&["spiffe://feature-auth/auth-api"]),
        stranger.issue(&["spiffe://feature-auth/auth-api"]),
    ) else {
        panic!("both use TLS")
    };
    let forged = Transport::MutualTls(TlsIdentity { ca: ours.ca.clone(), ..theirs });
    assert_eq!(server.get(&forged, "1").await.unwrap_err().code(), Code::Unavailable);

    let tls = tonic::transport::ClientTlsConfig::new()
        .ca_certificate(tonic::transport::Certificate::from_pem(&ours.ca));
    let channel =
        tonic::transport::Endpoint::from_shared(format!("https://localhost:{}", server.address.port()))
            .unwrap()
            .tls_config(tls)
            .unwrap()
            .connect_lazy();
    let refused = MailerServiceClient::new(channel).get_message(GetMessageRequest::default()).await;
    assert!(refused.is_err(), "{refused:?}");
    // And so is one who speaks no TLS.
    assert!(server.get(&Transport::Plaintext, "1").await.is_err());
    assert!(server.denied.lock().unwrap().is_empty(), "none of them became a call");
}

#[tokio::test]
async fn a_certificate_is_checked_against_the_name_in_the_address() {
    let authority = Authority::new();
    let server = Running::start(authority.issue(&["spiffe://feature-auth/mailer"])).await;
    let auth_api = authority.issue(&["spiffe://feature-auth/auth-api"]);
    let port = server.address.port();
    // They lead to the same replica, whose certificate has the first name.
    for (address, is_good) in
        [(format!("https://localhost:{port}"), true), (format!("https://127.0.0.1:{port}"), false)]
    {
        let channel = connect_lazy(&address.parse().unwrap(), &auth_api).unwrap();
        let answer = MailerServiceClient::new(channel).get_message(GetMessageRequest::default()).await;
        let code = answer.err().map_or(Code::Ok, |status| status.code());
        assert_eq!(code, if is_good { Code::Ok } else { Code::Unavailable }, "{address}");
    }
}

#[tokio::test]
async fn plaintext_opens_every_listed_method_and_no_other() {
    let server = Running::start(Transport::Plaintext).await;
    assert_eq!(server.get(&Transport::Plaintext, "1").await.unwrap(), "unverified");
    let mut client = MailerServiceClient::new(server.channel(&Transport::Plaintext));
    let refused = client.list_messages(ListMessagesRequest::default()).await.unwrap_err();
    assert_eq!(refused.code(), Code::PermissionDenied);
}

#[tokio::test]
async fn a_deadline_ends_a_call_on_both_sides() {
    let server = Running::start(Transport::Plaintext).await;
    let late = server.get(&Transport::Plaintext, "hangs").await.unwrap_err();
    assert_eq!(late.code(), Code::DeadlineExceeded);

    // A client that would wait for ever, and one whose deadline the server keeps first.
    let channel =
        tonic::transport::Endpoint::from_shared(format!("http://{}", server.address)).unwrap().connect_lazy();
    let mut patient = MailerServiceClient::new(channel);
    let late = patient.get_message(GetMessageRequest { id: "hangs".to_owned() }).await.unwrap_err();
    assert_eq!(late.code(), Code::DeadlineExceeded);
    assert_eq!(service_error::error_reason(&late).as_deref(), Some("deadline_exceeded"));

    assert!(server.metrics().contains(r#"grpc_code="DEADLINE_EXCEEDED""#), "{}", server.metrics());
}

#[tokio::test]
async fn a_service_that_is_away_is_unavailable_within_the_deadline() {
    rustls::crypto::ring::default_provider().install_default().ok();
    let unused = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let channel = connect_lazy(&format!("http://{unused}").parse().unwrap(), &Transport::Plaintext).unwrap();
    let away = MailerServiceClient::new(channel).get_message(GetMessageRequest::default()).await.unwrap_err();
    assert_eq!(away.code(), Code::Unavailable, "{away:?}");
}

#[tokio::test]
async fn a_panic_is_one_internal_error_and_the_server_lives_on() {
    let server = Running::start(Transport::Plaintext).await;
    let broken = server.get(&Transport::Plaintext, "panics").await.unwrap_err();
    assert_eq!(broken.code(), Code::Internal);
    assert!(!broken.message().contains("as the test wants it"));
    assert_eq!(server.get(&Transport::Plaintext, "missing").await.unwrap_err().code(), Code::NotFound);
    server.get(&Transport::Plaintext, "1").await.unwrap();
    for code in ["INTERNAL", "NOT_FOUND", "OK"] {
        let label = format!(r#"grpc_code="{code}""#);
        assert!(server.metrics().contains(&label), "{label} is missing in {}", server.metrics());
    }
}

#[tokio::test]
async fn health_follows_readiness() {
    let server = Running::start(Transport::Plaintext).await;
    let mut client = HealthClient::new(server.channel(&Transport::Plaintext));
    let mut check = async |service: &str| {
        let answer = client.check(HealthCheckRequest { service: service.to_owned() }).await;
        answer.map(|answer| answer.into_inner().status())
    };
    assert_eq!(check("").await.unwrap(), ServingStatus::NotServing);
    server.lifecycle.readiness().require("always", || Box::pin(async { Ok(()) }));
    assert_eq!(check("").await.unwrap(), ServingStatus::Serving);
    assert_eq!(check("feature_auth.mailer.v1.MailerService").await.unwrap(), ServingStatus::Serving);
    assert_eq!(check("other").await.unwrap_err().code(), Code::NotFound);
}

#[tokio::test]
async fn the_server_stops_while_a_client_watches_its_health() {
    let server = Running::start(Transport::Plaintext).await;
    let mut client = HealthClient::new(server.channel(&Transport::Plaintext));
    let mut watch = client.watch(HealthCheckRequest::default()).await.unwrap().into_inner();
    assert_eq!(watch.message().await.unwrap().unwrap().status(), ServingStatus::NotServing);
    server.lifecycle.request_shutdown();
    server.lifecycle.wait_for_tasks().await;
    assert!(!format!("{:?}", server.lifecycle).contains("grpc"));
    assert!(watch.message().await.is_ok_and(|end| end.is_none()));
}

#[tokio::test]
async fn address_and_transport_must_agree() {
    let tls = Authority::new().issue(&["spiffe://feature-auth/mailer"]);
    assert!(connect_lazy(&"https://localhost:1".parse().unwrap(), &Transport::Plaintext).is_err());
    assert!(connect_lazy(&"http://localhost:1".parse().unwrap(), &tls).is_err());
}

#[tokio::test]
async fn grp_09_methods_are_listed_only_where_that_was_asked_for() {
    for (reflection, expected) in [(true, Code::Ok), (false, Code::Unimplemented)] {
        let server = Running::start_with(Transport::Plaintext, reflection).await;
        let mut client = ServerReflectionClient::new(server.channel(&Transport::Plaintext));
        let list = ServerReflectionRequest {
            host: String::new(),
            message_request: Some(MessageRequest::ListServices(String::new())),
        };
        let answer = client.server_reflection_info(futures::stream::iter([list])).await;
        assert_eq!(answer.err().map_or(Code::Ok, |status| status.code()), expected, "{reflection}");
        let health = HealthClient::new(server.channel(&Transport::Plaintext))
            .check(HealthCheckRequest::default())
            .await
            .unwrap();
        // Whether it serves, and nothing else.
        assert!(matches!(health.into_inner(), HealthCheckResponse { status: _ }));
    }
}
