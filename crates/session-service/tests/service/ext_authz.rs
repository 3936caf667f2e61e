//! What a proxy hears when it asks whether a request may pass.

use std::collections::{BTreeMap, HashMap};

use auth_proto::session::v1::{CreateSessionRequest, RevokeSessionRequest, revoke_session_request::Target};
use dev_stack::certificates::DevelopmentCa;
use envoy_types::{
    ext_authz::v3::pb::{CheckRequest, CheckResponse, HeaderAppendAction, HeaderValueOption, HttpResponse},
    pb::envoy::service::auth::v3::{
        AttributeContext,
        attribute_context::{HttpRequest, Request},
        authorization_client::AuthorizationClient,
    },
};
use serde_json::{Value, json};
use service_runtime::{TlsIdentity, Transport};
use tonic::{
    Code, Status,
    transport::{Certificate, Channel, ClientTlsConfig, Identity},
};

use crate::harness::{Running, Setup, login, new_database, new_user, now, reason, start};

const OURS: [&str; 6] = [
    "x-auth-user-id",
    "x-auth-session-id",
    "x-auth-aal",
    "x-auth-roles",
    "x-auth-permissions",
    "x-auth-time",
];

fn map(pairs: &[(&str, &str)]) -> HashMap<String, String> {
    pairs.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect()
}

fn question(headers: &[(&str, &str)], route: &[(&str, &str)]) -> CheckRequest {
    let http = HttpRequest {
        id: "17".to_owned(),
        method: "GET".to_owned(),
        path: "/reports".to_owned(),
        headers: map(headers),
        ..HttpRequest::default()
    };
    let attributes = AttributeContext {
        request: Some(Request { http: Some(http), ..Request::default() }),
        context_extensions: map(route),
        ..AttributeContext::default()
    };
    CheckRequest { attributes: Some(attributes) }
}

async fn ask(service: &Running, request: CheckRequest) -> Result<CheckResponse, Status> {
    let channel = Channel::from_shared(format!("http://{}", service.address)).unwrap().connect_lazy();
    AuthorizationClient::new(channel).check(request).await.map(tonic::Response::into_inner)
}

async fn ask_with(service: &Running, token: &str, route: &[(&str, &str)]) -> CheckResponse {
    let authorization = format!("Bearer {token}");
    ask(service, question(&[("authorization", &authorization)], route)).await.unwrap()
}

fn set(headers: &[HeaderValueOption]) -> BTreeMap<String, String> {
    headers
        .iter()
        .map(|option| {
            assert_eq!(option.append_action(), HeaderAppendAction::OverwriteIfExistsOrAdd);
            let header = option.header.clone().unwrap();
            (header.key, header.value)
        })
        .collect()
}

/// The headers that are set and those that are removed.
fn admitted(answer: CheckResponse) -> (BTreeMap<String, String>, Vec<String>) {
    assert_eq!(answer.status.unwrap().code, i32::from(Code::Ok));
    let Some(HttpResponse::OkResponse(ok)) = answer.http_response else { panic!("it is denied") };
    let (set, removed) = (set(&ok.headers), ok.headers_to_remove);
    // The proxy removes after it has set.
    assert!(removed.iter().all(|name| !set.contains_key(name)), "{removed:?}");
    (set, removed)
}

/// The code of an answer that no proxy takes for leave, as it could a status.
fn closed(answer: Result<CheckResponse, Status>) -> String {
    let (status, challenge, code) = denied(answer.expect("it is an answer"));
    assert_eq!((status, challenge.as_str()), (500, ""));
    code
}

/// The status, the challenge and the code.
fn denied(answer: CheckResponse) -> (i32, String, String) {
    assert_ne!(answer.status.unwrap().code, i32::from(Code::Ok));
    let Some(HttpResponse::DeniedResponse(denied)) = answer.http_response else { panic!("it is admitted") };
    let headers = set(&denied.headers);
    assert_eq!(headers["content-type"], "application/problem+json");
    assert_eq!(headers["cache-control"], "no-store");
    let problem: Value = serde_json::from_str(&denied.body).unwrap();
    let status = denied.status.unwrap().code;
    assert_eq!((&problem["status"], &problem["requestId"]), (&json!(status), &json!("17")));
    let challenge = headers.get("www-authenticate").cloned().unwrap_or_default();
    (status, challenge, problem["code"].as_str().unwrap().to_owned())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_good_token_passes_and_says_who_asks() {
    let (_database, service) = start().await;
    let user = new_user();
    let created = service.client.clone().create_session(login(&user)).await.unwrap().into_inner();
    let token = created.tokens.unwrap().access_token;
    let (set, removed) = admitted(ask_with(&service, &token, &[]).await);
    let (session, time) = (created.session.unwrap().id, now(&service).timestamp().to_string());
    let values = [user.as_str(), &session, "1", "user", "reports:read", &time];
    assert_eq!(set, OURS.into_iter().zip(values).map(|(name, value)| (name.into(), value.into())).collect());
    assert!(removed.is_empty());
}

#[tokio::test(flavor = "multi_thread")]
async fn nothing_that_a_client_claims_of_itself_reaches_the_service() {
    let (_database, service) = start().await;
    let plain = CreateSessionRequest {
        subject: login(&new_user()).subject.map(|subject| auth_proto::session::v1::Subject {
            roles: Vec::new(),
            permissions: Vec::new(),
            ..subject
        }),
        ..login("")
    };
    let created = service.client.clone().create_session(plain).await.unwrap().into_inner();
    let authorization = format!("Bearer {}", created.tokens.unwrap().access_token);
    let claimed = [
        ("authorization", authorization.as_str()),
        ("x-auth-user-id", "eve"),
        ("x-auth-roles", "admin"),
        ("x_auth_roles", "admin"),
        ("x-auth_permissions", "reports:read"),
    ];
    let (set, removed) = admitted(ask(&service, question(&claimed, &[])).await.unwrap());
    assert_ne!(set["x-auth-user-id"], "eve");
    assert_eq!(removed, ["x-auth-roles", "x-auth-permissions", "x-auth_permissions", "x_auth_roles"]);

    let optional = [("mode", "optional"), ("strip_authorization", "true")];
    let (set, removed) = admitted(ask(&service, question(&claimed[1..4], &optional)).await.unwrap());
    assert!(set.is_empty(), "{set:?}");
    for name in OURS.into_iter().chain(["x_auth_roles", "authorization"]) {
        assert!(removed.iter().any(|removed| removed == name), "{name} in {removed:?}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_route_may_keep_the_token_from_the_service() {
    let (_database, service) = start().await;
    let token = service.create(&new_user()).await.access_token;
    let (set, removed) = admitted(ask_with(&service, &token, &[("strip_authorization", "true")]).await);
    assert_eq!((set.len(), removed), (6, vec!["authorization".to_owned()]));
}

#[tokio::test(flavor = "multi_thread")]
async fn whoever_has_no_good_token_is_told_to_bring_one() {
    let (_database, service) = start().await;
    let token = service.create(&new_user()).await.access_token;
    let invalid = (401, "Bearer error=\"invalid_token\"".to_owned(), "invalid_token".to_owned());
    let missing = (401, "Bearer".to_owned(), "missing_token".to_owned());
    assert_eq!(denied(ask(&service, question(&[], &[])).await.unwrap()), missing);
    assert_eq!(denied(ask(&service, question(&[("cookie", &token)], &[])).await.unwrap()), missing);
    assert_eq!(denied(ask_with(&service, &token[..token.len() - 1], &[]).await), invalid);
    assert_eq!(denied(ask_with(&service, "x", &[("mode", "optional")]).await), invalid);

    let target = Some(Target::AccessToken(token.clone()));
    let revocation = RevokeSessionRequest { target, ..RevokeSessionRequest::default() };
    service.client.clone().revoke_session(revocation).await.unwrap();
    assert_eq!(denied(ask_with(&service, &token, &[]).await), invalid);
    assert_eq!(denied(ask_with(&service, &token, &[("authoritative", "true")]).await), invalid);

    let token = service.create(&new_user()).await.access_token;
    service.advance(301);
    assert_eq!(denied(ask_with(&service, &token, &[]).await), invalid);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_route_may_demand_more_than_a_token() {
    let (_database, service) = start().await;
    let token = service.create(&new_user()).await.access_token;
    service.advance(100);
    for route in [
        [("required_permissions", "reports:read")],
        [("min_aal", "1")],
        [("max_auth_age_seconds", "101")],
        [("authoritative", "true")],
        [("mode", "optional")],
    ] {
        admitted(ask_with(&service, &token, &route).await);
    }
    for (route, status, challenge, code) in [
        (
            [("required_permissions", "reports:read,reports:write")],
            403,
            "Bearer error=\"insufficient_scope\", scope=\"reports:read reports:write\"",
            "missing_permission",
        ),
        (
            [("min_aal", "2")],
            401,
            "Bearer error=\"insufficient_user_authentication\", acr_values=\"aal2\"",
            "otp_required",
        ),
        (
            [("max_auth_age_seconds", "99")],
            401,
            "Bearer error=\"insufficient_user_authentication\", max_age=99",
            "reauth_required",
        ),
    ] {
        let expected = (status, challenge.to_owned(), code.to_owned());
        assert_eq!(denied(ask_with(&service, &token, &route).await), expected);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_route_that_is_configured_wrongly_is_closed() {
    let (_database, service) = start().await;
    let authorization = format!("Bearer {}", service.create(&new_user()).await.access_token);
    let headers = [("authorization", authorization.as_str())];
    for route in [
        vec![("required_permission", "reports:read")],
        vec![("required_permissions", "")],
        vec![("min_aal", "two")],
        vec![("mode", "optional"), ("required_permissions", "reports:read")],
    ] {
        assert_eq!(closed(ask(&service, question(&headers, &route)).await), "internal", "{route:?}");
    }
    let about_nothing = ask(&service, CheckRequest::default()).await.unwrap();
    let Some(HttpResponse::DeniedResponse(denied)) = about_nothing.http_response else {
        panic!("it is admitted")
    };
    assert_eq!(denied.status.unwrap().code, 500);
}

#[tokio::test(flavor = "multi_thread")]
async fn whoever_cannot_be_told_in_headers_does_not_pass_as_less_than_they_are() {
    let (_database, service) = start().await;
    let mut login = login(&new_user());
    login.subject.as_mut().unwrap().roles.push("reader,admin".to_owned());
    let created = service.client.clone().create_session(login).await.unwrap().into_inner();
    let authorization = format!("Bearer {}", created.tokens.unwrap().access_token);
    let answer = ask(&service, question(&[("authorization", &authorization)], &[])).await;
    assert_eq!(closed(answer), "internal");
}

#[tokio::test(flavor = "multi_thread")]
async fn nobody_passes_and_nobody_is_denied_while_nothing_can_be_judged() {
    let (_database, good) = start().await;
    let authorization = format!("Bearer {}", good.create(&new_user()).await.access_token);
    let away = Setup::at("postgres://session_app:session_app@127.0.0.1:1/none".into()).start().await;
    for mode in ["required", "optional"] {
        let request = question(&[("authorization", &authorization)], &[("mode", mode)]);
        let status = ask(&away, request).await.unwrap_err();
        assert_eq!(reason(&status), (Code::Unavailable, "signing_key_unavailable".to_owned()));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn grp_02_only_internal_services_may_ask_for_others() {
    let database = new_database().await;
    let ca = DevelopmentCa::generate().unwrap();
    let leaf = ca.issue("session-service").unwrap();
    let transport = Transport::MutualTls(TlsIdentity {
        ca: ca.ca_pem().into_bytes(),
        certificate: leaf.cert_pem.into_bytes(),
        key: leaf.key_pem.into_bytes(),
    });
    let service = Setup { transport, ..Setup::on(&database) }.start_ready().await;
    for (role, admitted) in
        [("internal/envoy", true), ("auth-api", false), ("operator", false), ("mailer", false)]
    {
        let leaf = ca.issue(role).unwrap();
        let tls = ClientTlsConfig::new()
            .ca_certificate(Certificate::from_pem(ca.ca_pem()))
            .domain_name("localhost")
            .identity(Identity::from_pem(leaf.cert_pem, leaf.key_pem));
        let endpoint = Channel::from_shared(format!("https://{}", service.address)).unwrap();
        let mut client = AuthorizationClient::new(endpoint.tls_config(tls).unwrap().connect_lazy());
        let answer = client.check(question(&[], &[])).await;
        assert_eq!(answer.is_ok(), admitted, "{role}");
    }
}
