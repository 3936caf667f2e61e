//! What clients of services in axum and tonic get.

use std::{net::SocketAddr, time::Duration};

use access_tokens::AccessClaims;
use axum::{Extension, Router, body::Body, routing::get};
use futures::future::BoxFuture;
use http::{
    Request, Response,
    header::{AUTHORIZATION, CACHE_CONTROL, CONTENT_TYPE, RETRY_AFTER, WWW_AUTHENTICATE},
};
use serde_json::Value;
use service_error::{error_metadata, error_reason};
use session_verifier::{Session, Verifier, tower::VerifierLayer};
use tokio::{net::TcpListener, task::JoinSet};
use tokio_stream::wrappers::TcpListenerStream;
use tonic::{
    Code, Status,
    client::Grpc,
    server::{NamedService, UnaryService},
    transport::{Channel, Server},
};
use tonic_prost::ProstCodec;
use tower::{Layer, Service, ServiceExt};

use crate::fake::{Fake, claims, config};

/// Status, challenge, and the user's id or the code of the problem.
async fn over_http(layer: &VerifierLayer, headers: &[String]) -> (u16, Option<String>, String) {
    let whoami = get(|Extension(session): Extension<Session>| async move { session.user_id().to_string() });
    let app = Router::new().route("/", whoami).layer(layer.clone());
    let mut request = Request::builder().uri("/");
    for header in headers {
        request = request.header(AUTHORIZATION, header);
    }
    let response = app.oneshot(request.body(Body::empty()).unwrap()).await.unwrap();
    let status = response.status().as_u16();
    let header = |name| response.headers().get(name).map(|value| value.to_str().unwrap().to_owned());
    let challenge = header(WWW_AUTHENTICATE);
    if status != 200 {
        assert_eq!(header(CONTENT_TYPE).as_deref(), Some("application/problem+json"));
        assert_eq!(header(CACHE_CONTROL).as_deref(), Some("no-store"));
        assert_eq!(header(RETRY_AFTER).is_some(), status == 503);
    }
    let body = axum::body::to_bytes(response.into_body(), 4096).await.unwrap();
    let text = String::from_utf8(body.to_vec()).unwrap();
    let problem: Result<Value, _> = serde_json::from_str(&text);
    (status, challenge, problem.map_or(text, |problem| problem["code"].as_str().unwrap().to_owned()))
}

/// A service with one method, which answers with the id of the user.
#[derive(Clone)]
struct Whoami;

impl NamedService for Whoami {
    const NAME: &'static str = "test.Whoami";
}

impl UnaryService<()> for Whoami {
    type Response = String;
    type Future = BoxFuture<'static, Result<tonic::Response<String>, Status>>;

    fn call(&mut self, request: tonic::Request<()>) -> Self::Future {
        let session = request.extensions().get::<Session>().cloned();
        Box::pin(async move { Ok(tonic::Response::new(session.unwrap().user_id().to_string())) })
    }
}

impl Service<Request<tonic::body::Body>> for Whoami {
    type Response = Response<tonic::body::Body>;
    type Error = std::convert::Infallible;
    type Future = BoxFuture<'static, Result<Self::Response, Self::Error>>;

    fn poll_ready(&mut self, _: &mut std::task::Context<'_>) -> std::task::Poll<Result<(), Self::Error>> {
        std::task::Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: Request<tonic::body::Body>) -> Self::Future {
        Box::pin(async move {
            let codec = ProstCodec::<String, ()>::default();
            Ok(tonic::server::Grpc::new(codec).unary(Whoami, request).await)
        })
    }
}

/// The user's id, over a real connection, with the layer around the one service or around the whole server.
async fn over_grpc(layer: &VerifierLayer, around_all: bool, headers: &[String]) -> Result<String, Status> {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let incoming = TcpListenerStream::new(listener);
    let layer = layer.clone();
    let mut server = JoinSet::new();
    server.spawn(async move {
        if around_all {
            let server = Server::builder().layer(layer).add_service(Whoami);
            server.serve_with_incoming(incoming).await.unwrap();
        } else {
            let server = Server::builder().add_service(layer.layer(Whoami));
            server.serve_with_incoming(incoming).await.unwrap();
        }
    });
    call(address, headers).await
}

async fn call(address: SocketAddr, headers: &[String]) -> Result<String, Status> {
    let channel = Channel::from_shared(format!("http://{address}")).unwrap().connect().await.unwrap();
    let mut request = tonic::Request::new(());
    for header in headers {
        request.metadata_mut().append("authorization", header.parse().unwrap());
    }
    let mut client = Grpc::new(channel);
    client.ready().await.unwrap();
    let codec = ProstCodec::<(), String>::default();
    let path = http::uri::PathAndQuery::from_static("/test.Whoami/Whoami");
    client.unary(request, path, codec).await.map(tonic::Response::into_inner)
}

fn bearer(fake: &Fake, claims: &AccessClaims) -> [String; 1] {
    [format!("Bearer {}", fake.mint(claims))]
}

async fn assert_refused(
    layer: &VerifierLayer,
    headers: &[String],
    (status, code): (u16, Code),
    challenge: Option<&str>,
    reason: &str,
) -> Status {
    let (given, given_challenge, given_reason) = over_http(layer, headers).await;
    assert_eq!((given, given_challenge.as_deref(), given_reason.as_str()), (status, challenge, reason));
    let refusal = over_grpc(layer, true, headers).await.unwrap_err();
    assert_eq!((refusal.code(), error_reason(&refusal).as_deref()), (code, Some(reason)));
    assert_eq!(over_grpc(layer, false, headers).await.unwrap_err().message(), refusal.message());
    refusal
}

#[tokio::test]
async fn a_service_gets_the_session_of_a_good_token() {
    let fake = Fake::start().await;
    let layer = VerifierLayer::new(fake.verifier().await).require_permission("reports.read");
    let claims = claims();
    let headers = bearer(&fake, &claims);
    let user = claims.sub.to_string();
    assert_eq!(over_http(&layer, &headers).await, (200, None, user.clone()));
    assert_eq!(over_grpc(&layer, true, &headers).await.unwrap(), user);
    assert_eq!(over_grpc(&layer, false, &headers).await.unwrap(), user);
}

#[tokio::test]
async fn requests_without_one_good_token_are_told_what_is_wrong() {
    let fake = Fake::start().await;
    let layer = VerifierLayer::new(fake.verifier().await);
    let unauthenticated = (401, Code::Unauthenticated);
    assert_refused(&layer, &[], unauthenticated, Some("Bearer"), "missing_token").await;
    let not_good = "Bearer error=\"invalid_token\", error_description=\"The access token is not good\"";
    let [good] = bearer(&fake, &claims());
    for headers in [vec!["Bearer nonsense".to_owned()], vec![good.clone(), good]] {
        assert_refused(&layer, &headers, unauthenticated, Some(not_good), "invalid_token").await;
    }
}

#[tokio::test]
async fn what_is_required_of_a_session_is_told() {
    let fake = Fake::start().await;
    let verifier = fake.verifier().await;
    let headers = bearer(&fake, &claims());

    let layer = VerifierLayer::new(verifier.clone()).require_permission("users.delete");
    let challenge = "Bearer error=\"insufficient_scope\", scope=\"users.delete\"";
    let forbidden = (403, Code::PermissionDenied);
    let status = assert_refused(&layer, &headers, forbidden, Some(challenge), "missing_permission").await;
    assert_eq!(error_metadata(&status)["permission"], "users.delete");

    let unauthenticated = (401, Code::Unauthenticated);
    let layer = VerifierLayer::new(verifier.clone()).require_aal2();
    let challenge = "Bearer error=\"insufficient_user_authentication\", acr_values=\"aal2\"";
    let status = assert_refused(&layer, &headers, unauthenticated, Some(challenge), "otp_required").await;
    assert_eq!(error_metadata(&status)["acr_values"], "aal2");

    let layer = VerifierLayer::new(verifier).require_recent(Duration::from_mins(5));
    let challenge = "Bearer error=\"insufficient_user_authentication\", max_age=300";
    let status = assert_refused(&layer, &headers, unauthenticated, Some(challenge), "reauth_required").await;
    assert_eq!(error_metadata(&status)["max_age"], "300");
}

#[tokio::test]
async fn while_session_service_is_away_requests_are_asked_to_come_back() {
    let mut config = config("http://127.0.0.1:1");
    config.first_contact = Duration::ZERO;
    let layer = VerifierLayer::new(Verifier::connect(config).await.unwrap());
    let headers = [format!("Bearer {}", crate::fake::Key::new().mint(&claims()))];
    assert_refused(&layer, &headers, (503, Code::Unavailable), None, "unavailable").await;
}

#[tokio::test]
async fn nested_layers_verify_a_token_once() {
    let fake = Fake::start().await;
    let outer = VerifierLayer::new(fake.verifier().await);
    let inner = outer.clone().require_permission("reports.read");
    let claims = claims();
    fake.answer_active(&claims);
    let app = Router::new().route("/", get(|| async { "reports" })).layer(inner).layer(outer);
    let token = crate::fake::Key::new().mint(&claims);
    let request = Request::builder().uri("/").header(AUTHORIZATION, format!("Bearer {token}"));
    let response = app.oneshot(request.body(Body::empty()).unwrap()).await.unwrap();
    assert_eq!((response.status().as_u16(), fake.asked()), (200, 1));
}
