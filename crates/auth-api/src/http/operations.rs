//! What operators and machines ask for.

use actix_web::{
    HttpRequest, HttpResponse, Responder, get,
    http::header::{self, ContentEncoding},
    web,
};
use chrono::{DateTime, SecondsFormat, Utc};
use ipnet::IpNet;
use prometheus::Registry;
use serde::Serialize;
use service_runtime::{Readiness, ReadinessStatus};
use session_verifier::PublicKey;
use utoipa::ToSchema;

use super::{ApiError, edge_error::EdgeError, request_client::RequestClient};
use crate::{app::dependency::DependencyError, clients::sessions::SessionsError, state::AppState};

/// Whether the process is alive.
#[derive(Serialize, ToSchema)]
pub struct Health {
    /// Always `ok`.
    #[schema(example = "ok")]
    status: &'static str,
}

/// Alive: touches nothing.
#[utoipa::path(tag = "operations", responses((status = 200, body = Health)))]
#[get("/health")]
pub async fn health() -> impl Responder {
    HttpResponse::Ok().json(Health { status: "ok" })
}

/// Whether requests should be sent here.
#[derive(Serialize, ToSchema)]
pub struct Ready {
    /// `ready` or `unready`; why is told on the management listener only.
    #[schema(example = "ready")]
    status: &'static str,
}

/// Ready to serve.
#[utoipa::path(tag = "operations", responses((status = 200, body = Ready), (status = 503, body = Ready)))]
#[get("/ready")]
pub async fn ready(readiness: web::Data<Readiness>) -> impl Responder {
    match readiness.report().await.status {
        ReadinessStatus::Ready => HttpResponse::Ok().json(Ready { status: "ready" }),
        _ => HttpResponse::ServiceUnavailable().json(Ready { status: "unready" }),
    }
}

/// What runs here.
#[derive(Serialize, ToSchema)]
pub struct Version {
    /// The service.
    #[schema(example = "auth-api")]
    service: &'static str,
    /// Its version.
    #[schema(example = "0.1.0")]
    version: &'static str,
}

/// Name and version.
#[utoipa::path(tag = "operations", responses((status = 200, body = Version)))]
#[get("/version")]
pub async fn version() -> impl Responder {
    HttpResponse::Ok().json(Version { service: crate::state::SOURCE, version: env!("CARGO_PKG_VERSION") })
}

/// Who may read `/metrics` on the public listener.
#[derive(Clone)]
pub struct MetricsAccess {
    /// The networks.
    pub networks: Vec<IpNet>,
    /// What is read.
    pub registry: Registry,
}

/// Prometheus metrics, for scrapers in the allowed networks that come directly; for all others, and through any proxy, there is no such path.
#[get("/metrics")]
pub async fn metrics(
    access: web::Data<MetricsAccess>,
    client: RequestClient,
    request: HttpRequest,
) -> Result<HttpResponse, ApiError> {
    let is_allowed =
        client.0.ip.is_some_and(|ip| access.networks.iter().any(|network| network.contains(&ip)));
    let signs_of_a_proxy = [header::FORWARDED, header::X_FORWARDED_FOR, header::VIA];
    let is_forwarded = signs_of_a_proxy.iter().any(|name| request.headers().contains_key(name));
    if !is_allowed || is_forwarded {
        return Err(EdgeError::NotFound.into());
    }
    let text = telemetry::metrics::encode(&access.registry).map_err(|_| EdgeError::Unexplained)?;
    Ok(HttpResponse::Ok().content_type("text/plain; version=0.0.4").body(text))
}

/// The keys that verify access tokens.
#[derive(Clone, Serialize, ToSchema)]
pub struct KeySet {
    /// One that signs, and those that signed or will.
    keys: Vec<Key>,
}

/// A public key.
#[derive(Clone, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct Key {
    /// PASERK id, as in the footer of tokens.
    #[schema(example = "k4.pid.9ShR3xc8-qVJ_di0tc9nx0IDIqbatdeM2mqLFBJsKRHs")]
    kid: String,
    /// The key as PASERK.
    #[schema(example = "k4.public.cHFyc3R1dnd4eXp7fH1-f4CBgoOEhYaHiImKi4yNjo8")]
    paserk: String,
    /// From when it signs.
    #[schema(value_type = Option<String>, format = DateTime)]
    not_before: Option<String>,
    /// When verifiers drop it.
    #[schema(value_type = Option<String>, format = DateTime)]
    retire_at: Option<String>,
}

impl From<&PublicKey> for Key {
    fn from(key: &PublicKey) -> Self {
        let time = |time: DateTime<Utc>| time.to_rfc3339_opts(SecondsFormat::Secs, true);
        Self {
            kid: key.id.to_string(),
            paserk: key.paserk(),
            not_before: Some(time(key.not_before)),
            retire_at: key.retire_at.map(time),
        }
    }
}

/// The public keys that verify access tokens, as PASERK.
#[utoipa::path(tag = "operations", responses(
    (status = 200, body = KeySet, description = "Cacheable for five minutes."),
    (status = 503, body = super::openapi::ProblemDocument, content_type = "application/problem+json"),
))]
#[get("/.well-known/paserk.json")]
pub async fn paserk(state: web::Data<AppState>) -> Result<impl Responder, ApiError> {
    let (known, now) = (state.verifier.public_keys(), state.clock.now());
    let keys: Vec<Key> = known.iter().filter(|key| !key.is_retired(now)).map(Key::from).collect();
    if keys.is_empty() {
        return Err(DependencyError::from(SessionsError::no_keys()).into());
    }
    let keys = KeySet { keys };
    Ok(HttpResponse::Ok().insert_header((header::CACHE_CONTROL, "public, max-age=300")).json(keys))
}

/// The OpenAPI document.
#[get("/openapi.json")]
pub async fn openapi_json(document: web::Data<OpenApiJson>) -> impl Responder {
    HttpResponse::Ok().content_type("application/json").body(document.0.clone())
}

/// The OpenAPI document as it is served; made once.
#[derive(Clone)]
pub struct OpenApiJson(web::Bytes);

impl OpenApiJson {
    /// Collects the document.
    pub fn collect() -> serde_json::Result<Self> {
        Ok(Self(super::openapi::document().to_json()?.into()))
    }
}

/// Swagger UI. Most of its files exist packed only, as every browser takes them.
#[get("/docs{tail:(/.*)?}")]
pub async fn docs(
    request: HttpRequest,
    ui: web::Data<utoipa_swagger_ui::Config<'static>>,
) -> Result<HttpResponse, ApiError> {
    let tail = request.match_info().get("tail").unwrap_or_default();
    if tail.is_empty() {
        return Ok(HttpResponse::SeeOther().insert_header((header::LOCATION, "/docs/")).finish());
    }
    let file = utoipa_swagger_ui::serve(tail.trim_start_matches('/'), ui.into_inner());
    match file.map_err(|_| EdgeError::Unexplained)? {
        Some(file) => {
            let mut answer = HttpResponse::Ok();
            answer.content_type(file.content_type);
            if file.gzpipped {
                answer.insert_header(ContentEncoding::Gzip);
            }
            Ok(answer.body(file.bytes.into_owned()))
        }
        None => Err(EdgeError::NotFound.into()),
    }
}
