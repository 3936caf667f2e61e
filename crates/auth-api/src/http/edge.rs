use std::{
    collections::BTreeMap,
    sync::Arc,
    time::{Duration, Instant},
};

use actix_web::{
    Error, HttpMessage, HttpResponse,
    body::{BoxBody, MessageBody},
    dev::{ServiceRequest, ServiceResponse},
    http::{
        StatusCode,
        header::{self, HeaderValue},
    },
    middleware::Next,
    web,
};
use auth_events::Client;
use ipnet::IpNet;
use service_error::{ErrorKind, Problem, ServiceError};
use tracing::{Instrument, Span, field::Empty};

use super::{
    ApiError,
    client_address::client_address,
    edge_error::EdgeError,
    request_client::RequestClient,
    request_id::{self, request_id},
    security_headers,
};
use crate::metrics::Metrics;

const MAX_USER_AGENT_BYTES: usize = 512;
/// What answers probes and scrapes is neither traced nor logged.
const QUIET_PATHS: &[&str] = &["/health", "/ready", "/metrics"];

/// What the outermost middleware needs to know.
#[derive(Clone)]
pub struct EdgeSettings {
    /// Whose `X-Forwarded-For` is believed.
    pub trusted_proxies: Vec<IpNet>,
    /// The base address of the documentation of problems.
    pub docs_url: String,
    /// The methods of every documented route, for `Allow`.
    pub methods: Arc<BTreeMap<String, String>>,
    /// What is counted.
    pub metrics: Metrics,
}

/// Around every request: its id, its client, its span, its one log line; and on every answer the security headers, the id and,
/// for errors, the problem document.
pub async fn edge(
    settings: web::Data<EdgeSettings>,
    request: ServiceRequest,
    next: Next<impl MessageBody + 'static>,
) -> Result<ServiceResponse<BoxBody>, Error> {
    let started = Instant::now();
    let client = client_of(&request, &settings.trusted_proxies);
    let id = client.request_id.clone().unwrap_or_default();
    let span = span_of(&request, &id);
    request.extensions_mut().insert(RequestClient(client));
    let mut response = next.call(request).instrument(span.clone()).await?.map_into_boxed_body();
    if is_error_without_answer(&response) {
        response = span.in_scope(|| with_problem(response, &settings, &id));
    }
    let path = response.request().path().to_owned();
    security_headers::insert(response.headers_mut(), &path);
    if let Ok(value) = HeaderValue::from_str(&id) {
        response.headers_mut().insert(header::HeaderName::from_static(request_id::HEADER), value);
    }
    record(&settings.metrics, &span, &response, started.elapsed());
    Ok(response)
}

fn client_of(request: &ServiceRequest, trusted: &[IpNet]) -> Client {
    let headers = request.headers();
    let forwarded: Vec<&[u8]> = headers.get_all(header::X_FORWARDED_FOR).map(HeaderValue::as_bytes).collect();
    let peer = request.peer_addr().map(|address| address.ip());
    let user_agent = headers.get(header::USER_AGENT).and_then(|value| value.to_str().ok());
    Client {
        ip: peer.map(|peer| client_address(peer, &forwarded, trusted)),
        user_agent: user_agent.map(|agent| agent.chars().take(MAX_USER_AGENT_BYTES).collect()),
        request_id: Some(request_id(headers)),
    }
}

fn span_of(request: &ServiceRequest, id: &str) -> Span {
    if QUIET_PATHS.contains(&request.path()) {
        return Span::none();
    }
    let method = request.method().as_str();
    let span = tracing::info_span!(
        "http.request",
        otel.kind = "server",
        otel.status_code = Empty,
        http.request.method = method,
        http.route = Empty,
        http.response.status_code = Empty,
        request_id = id,
    );
    let traceparent = request.headers().get("traceparent").and_then(|value| value.to_str().ok());
    telemetry::propagation::continue_trace(&span, traceparent);
    span
}

fn record(metrics: &Metrics, span: &Span, response: &ServiceResponse<BoxBody>, elapsed: Duration) {
    let request = response.request();
    let route = request.match_pattern().unwrap_or_else(|| "unmatched".to_owned());
    // An unknown method must not become a label of its own.
    let method = match request.method().as_str() {
        known @ ("GET" | "POST" | "PUT" | "PATCH" | "DELETE" | "HEAD" | "OPTIONS") => known,
        _ => "other",
    };
    let status = response.status();
    metrics
        .http_requests
        .with_label_values(&[method, &route, status.as_str()])
        .observe(elapsed.as_secs_f64());
    telemetry::propagation::rename(span, format!("{method} {route}"));
    span.record("http.route", &route);
    span.record("http.response.status_code", status.as_u16());
    if status.is_server_error() {
        span.record("otel.status_code", "ERROR");
    }
    if !span.is_none() {
        let milliseconds = u64::try_from(elapsed.as_millis()).unwrap_or(u64::MAX);
        let status = status.as_u16();
        span.in_scope(|| tracing::info!(duration_ms = milliseconds, "{method} {route} answered {status}"));
    }
}

/// Errors of handlers and of the framework; what a handler answered itself, with a body, stays.
fn is_error_without_answer(response: &ServiceResponse<BoxBody>) -> bool {
    let is_error = response.status().is_client_error() || response.status().is_server_error();
    is_error
        && (response.response().error().is_some() || !response.headers().contains_key(header::CONTENT_TYPE))
}

/// Replaces an error's body by its problem document.
fn with_problem(
    response: ServiceResponse<BoxBody>,
    settings: &EdgeSettings,
    id: &str,
) -> ServiceResponse<BoxBody> {
    let docs_url = &settings.docs_url;
    let stated = response.response().error().and_then(|error| error.as_error::<ApiError>());
    let implied = implied(response.status());
    let error = stated.map_or(&implied as &dyn ServiceError, ApiError::service_error);
    log(error);
    let problem = Problem::new(error, docs_url, id);
    let is_unauthenticated = error.kind() == ErrorKind::Unauthenticated;
    let mut answer = HttpResponse::build(StatusCode::from_u16(problem.status).unwrap_or(response.status()));
    if let Some(seconds) = problem.retry_after {
        answer.insert_header((header::RETRY_AFTER, seconds.to_string()));
    }
    if is_unauthenticated {
        answer.insert_header((header::WWW_AUTHENTICATE, "Bearer"));
    }
    if response.status() == StatusCode::METHOD_NOT_ALLOWED {
        let route = response.request().match_pattern().unwrap_or_default();
        let methods = settings.methods.get(&route).map_or("GET", String::as_str);
        answer.insert_header((header::ALLOW, methods));
    }
    let body = serde_json::to_string(&problem).unwrap_or_default();
    let answer = answer.content_type(Problem::MEDIA_TYPE).body(body);
    response.into_response(answer)
}

/// What an error of the framework means.
fn implied(status: StatusCode) -> EdgeError {
    match status {
        StatusCode::NOT_FOUND => EdgeError::NotFound,
        StatusCode::METHOD_NOT_ALLOWED => EdgeError::MethodNotAllowed,
        StatusCode::PAYLOAD_TOO_LARGE => EdgeError::PayloadTooLarge,
        status if status.is_client_error() => EdgeError::MalformedJson,
        _ => EdgeError::Unexplained,
    }
}

/// Errors are logged once, here; those that are ordinary answers are not errors of ours.
fn log(error: &dyn ServiceError) {
    let mut causes = error.to_string();
    let mut source = error.source();
    while let Some(cause) = source {
        causes = format!("{causes}: {cause}");
        source = cause.source();
    }
    let code = error.reason();
    match error.kind() {
        ErrorKind::Internal => tracing::error!(code, "The request failed: {causes}"),
        ErrorKind::Unavailable | ErrorKind::DeadlineExceeded => {
            tracing::warn!(code, "The request was not served: {causes}");
        }
        _ => tracing::debug!(code, "The request was refused: {causes}"),
    }
}
