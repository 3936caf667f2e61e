use std::{
    collections::BTreeMap,
    sync::Arc,
    time::{Duration, Instant},
};

use actix_cors::CorsError;
use actix_web::{
    Error, HttpMessage, HttpResponse,
    body::{BoxBody, MessageBody},
    dev::{ServiceRequest, ServiceResponse},
    error::InternalError,
    http::{
        ConnectionType, Method, StatusCode,
        header::{self, HeaderName, HeaderValue},
    },
    middleware::Next,
    web,
};
use auth_events::Client;
use ipnet::IpNet;
use rate_limit::Standing;
use service_error::{ErrorKind, ServiceError};
use tracing::{Instrument, Span, field::Empty};

use super::{
    ApiError,
    admission::admit,
    client_address::client_address,
    edge_error::EdgeError,
    hosts::Hosts,
    problem_answer::problem_answer,
    request_client::RequestClient,
    request_id::{self, request_id},
    security_headers,
    unread_body::UnreadBody,
};
use crate::metrics::Metrics;

const MAX_USER_AGENT_BYTES: usize = 512;
/// What answers probes and scrapes is neither traced nor logged.
const QUIET_PATHS: &[&str] = &["/health", "/ready", "/metrics"];

/// What the outermost middleware needs to know.
#[derive(Clone)]
pub struct EdgeSettings {
    /// The names under which we may be called.
    pub allowed_hosts: Hosts,
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
    mut request: ServiceRequest,
    next: Next<impl MessageBody + 'static>,
) -> Result<ServiceResponse<BoxBody>, Error> {
    let started = Instant::now();
    let client = client_of(&request, &settings.trusted_proxies);
    let id = client.request_id.clone().unwrap_or_default();
    let span = span_of(&request, &id);
    let client = RequestClient::new(client);
    request.extensions_mut().insert(client.clone());
    let method = request.method().clone();
    let path = request.path().to_owned();
    let route = request.match_pattern();
    let unread_body = UnreadBody::keep(&mut request);
    let answered = match admit(request.head(), &settings.allowed_hosts) {
        Ok(()) => next.call(request).instrument(span.clone()).await,
        Err(refused) => Err(ApiError::from(refused).into()),
    };
    let (request, mut response) = match answered {
        Ok(response) => {
            let (request, response) = response.into_parts();
            (Some(request), response.map_into_boxed_body())
        }
        Err(error) => (None, unanswered(error)),
    };
    if is_error_without_answer(&response) {
        response = span.in_scope(|| with_problem(&response, &settings, route.as_deref(), &id));
    }
    if response.status() == StatusCode::REQUEST_HEADER_FIELDS_TOO_LARGE {
        response.head_mut().set_connection_type(ConnectionType::Close);
    }
    if let Some(unread_body) = unread_body {
        response = response.map_body(|_, answer| unread_body.until_sent(answer));
    }
    security_headers::insert(response.headers_mut(), &path);
    if !response.headers().contains_key(header::VARY) {
        response.headers_mut().insert(header::VARY, HeaderValue::from_static("Origin"));
    }
    if let Ok(value) = HeaderValue::from_str(&id) {
        response.headers_mut().insert(HeaderName::from_static(request_id::HEADER), value);
    }
    for (name, value) in client.standing().iter().flat_map(Standing::headers) {
        if let (Ok(name), Ok(value)) = (HeaderName::try_from(name), HeaderValue::try_from(value)) {
            response.headers_mut().insert(name, value);
        }
    }
    record(&settings.metrics, &span, &method, route, response.status(), started.elapsed());
    match request {
        Some(request) => Ok(ServiceResponse::new(request, response)),
        None => Err(InternalError::from_response("answered", response).into()),
    }
}

/// A request that a middleware gave up: its answer so far, with the headers that other middleware put on it.
fn unanswered(error: Error) -> HttpResponse {
    let headers = error.error_response().headers().clone();
    let mut response = HttpResponse::from_error(error);
    *response.headers_mut() = headers;
    response
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

fn record(
    metrics: &Metrics,
    span: &Span,
    method: &Method,
    route: Option<String>,
    status: StatusCode,
    elapsed: Duration,
) {
    let route = route.unwrap_or_else(|| "unmatched".to_owned());
    // An unknown method must not become a label of its own.
    let method = match method.as_str() {
        known @ ("GET" | "POST" | "PUT" | "PATCH" | "DELETE" | "HEAD" | "OPTIONS") => known,
        _ => "other",
    };
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
fn is_error_without_answer(response: &HttpResponse) -> bool {
    let is_error = response.status().is_client_error() || response.status().is_server_error();
    is_error && (response.error().is_some() || !response.headers().contains_key(header::CONTENT_TYPE))
}

/// Replaces an error's answer by its problem document, and keeps the headers that it has already.
fn with_problem(
    response: &HttpResponse,
    settings: &EdgeSettings,
    route: Option<&str>,
    id: &str,
) -> HttpResponse {
    let stated = response.error().and_then(|error| error.as_error::<ApiError>());
    let implied = implied(response);
    let error = stated.map_or(&implied as &dyn ServiceError, ApiError::service_error);
    log(error);
    let mut answer = problem_answer(error, &settings.docs_url, id);
    let headers = answer.headers_mut();
    for (name, value) in response.headers() {
        if !headers.contains_key(name) {
            headers.append(name.clone(), value.clone());
        }
    }
    if response.status() == StatusCode::METHOD_NOT_ALLOWED {
        let methods = route.and_then(|route| settings.methods.get(route)).map_or("GET", String::as_str);
        if let Ok(methods) = HeaderValue::from_str(methods) {
            answer.headers_mut().insert(header::ALLOW, methods);
        }
    }
    answer
}

/// What an error of the framework means.
fn implied(response: &HttpResponse) -> EdgeError {
    if response.error().is_some_and(|error| error.as_error::<CorsError>().is_some()) {
        return EdgeError::PreflightRefused;
    }
    match response.status() {
        StatusCode::NOT_FOUND => EdgeError::NotFound,
        StatusCode::METHOD_NOT_ALLOWED => EdgeError::MethodNotAllowed,
        StatusCode::REQUEST_HEADER_FIELDS_TOO_LARGE => EdgeError::HeadTooLarge,
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
