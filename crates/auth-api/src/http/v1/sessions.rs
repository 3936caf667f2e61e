//! `/v1/auth/sessions` and `/v1/auth/logout-all`

use actix_web::{HttpResponse, delete, get, post, web};
use auth_ids::{GenericUuid, SessionId};
use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};
use session_verifier::Session;
use utoipa::ToSchema;
use uuid::Uuid;

use crate::{
    app::own_sessions::{self, OwnSessionError},
    clients::sessions::DeviceSession,
    http::{
        ApiError,
        authenticated::{Authenticated, AuthenticatedOnline},
        json::OptionalJson,
        openapi::ProblemDocument,
        request_client::RequestClient,
    },
    state::AppState,
};

/// One's own live sessions.
#[derive(Serialize, ToSchema)]
pub struct SessionList {
    /// The newest first.
    items: Vec<SessionItem>,
}

/// A live session: one device.
#[derive(Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct SessionItem {
    id: Uuid,
    /// What the user called the device.
    #[schema(example = "Ada's laptop")]
    device_name: Option<String>,
    /// Where it last was.
    #[schema(example = "203.0.113.9")]
    ip: Option<String>,
    #[schema(example = "Mozilla/5.0 (X11; Linux x86_64)")]
    user_agent: Option<String>,
    created_at: DateTime<Utc>,
    last_seen_at: DateTime<Utc>,
    /// When it ends even if it is used.
    expires_at: DateTime<Utc>,
    /// Its authenticator assurance level.
    #[schema(example = 1)]
    aal: u32,
    /// Whether it is the one that asks.
    current: bool,
}

/// Lists one's own live sessions.
#[utoipa::path(tag = "sessions", security(("bearer" = [])), responses(
    (status = 200, body = SessionList),
    (status = 401, body = ProblemDocument, content_type = "application/problem+json"),
    (status = 429, body = ProblemDocument, content_type = "application/problem+json"),
    (status = 503, body = ProblemDocument, content_type = "application/problem+json"),
))]
#[get("/v1/auth/sessions")]
pub async fn list_sessions(
    state: web::Data<AppState>,
    caller: Authenticated,
) -> Result<HttpResponse, ApiError> {
    let sessions = own_sessions::list(&state, &caller.0).await?;
    let items = sessions.into_iter().map(|session| present(session, &caller.0)).collect();
    Ok(HttpResponse::Ok().json(SessionList { items }))
}

fn present(session: DeviceSession, caller: &Session) -> SessionItem {
    SessionItem {
        id: session.id.into_untyped_uuid(),
        device_name: session.device_name,
        ip: session.ip.map(|ip| ip.to_string()),
        user_agent: session.user_agent,
        created_at: session.created_at,
        last_seen_at: session.last_seen_at,
        expires_at: session.expires_at,
        aal: session.aal,
        current: session.id == caller.session_id(),
    }
}

/// Ends one of one's own sessions; idempotent. Its access tokens die at once.
#[utoipa::path(tag = "sessions", security(("bearer" = [])),
    params(("id" = Uuid, Path, description = "The session.")),
    responses(
    (status = 204, description = "It is over."),
    (status = 401, body = ProblemDocument, content_type = "application/problem+json"),
    (status = 404, body = ProblemDocument, content_type = "application/problem+json",
        description = "`session_not_found`: one has no such session."),
    (status = 429, body = ProblemDocument, content_type = "application/problem+json"),
    (status = 503, body = ProblemDocument, content_type = "application/problem+json"),
))]
#[delete("/v1/auth/sessions/{id}")]
pub async fn end_session(
    state: web::Data<AppState>,
    client: RequestClient,
    caller: AuthenticatedOnline,
    id: web::Path<String>,
) -> Result<HttpResponse, ApiError> {
    let id = Uuid::parse_str(&id).map_err(|_| OwnSessionError::NotFound)?;
    own_sessions::end(&state, &caller.0, SessionId::from_untyped_uuid(id), &client.0).await?;
    Ok(HttpResponse::NoContent().finish())
}

/// How many sessions ended.
#[derive(Serialize, ToSchema)]
pub struct RevokedResponse {
    /// Sessions that were live until now.
    #[schema(example = 3)]
    revoked: u32,
}

/// Ends all of one's own sessions but the one that asks.
#[utoipa::path(tag = "sessions", security(("bearer" = [])), responses(
    (status = 200, body = RevokedResponse),
    (status = 401, body = ProblemDocument, content_type = "application/problem+json"),
    (status = 429, body = ProblemDocument, content_type = "application/problem+json"),
    (status = 503, body = ProblemDocument, content_type = "application/problem+json"),
))]
#[delete("/v1/auth/sessions")]
pub async fn end_other_sessions(
    state: web::Data<AppState>,
    client: RequestClient,
    caller: AuthenticatedOnline,
) -> Result<HttpResponse, ApiError> {
    let revoked = own_sessions::end_all(&state, &caller.0, true, &client.0).await?;
    Ok(HttpResponse::Ok().json(RevokedResponse { revoked }))
}

/// Which sessions to end.
#[derive(Deserialize, Default, ToSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct LogoutAllRequest {
    /// Whether the session that asks lives on.
    #[serde(default)]
    except_current: bool,
}

/// Ends all of one's own sessions.
#[utoipa::path(tag = "sessions", request_body(content = Option<LogoutAllRequest>), security(("bearer" = [])), responses(
    (status = 200, body = RevokedResponse),
    (status = 400, body = ProblemDocument, content_type = "application/problem+json"),
    (status = 401, body = ProblemDocument, content_type = "application/problem+json"),
    (status = 413, body = ProblemDocument, content_type = "application/problem+json"),
    (status = 415, body = ProblemDocument, content_type = "application/problem+json"),
    (status = 429, body = ProblemDocument, content_type = "application/problem+json"),
    (status = 503, body = ProblemDocument, content_type = "application/problem+json"),
))]
#[post("/v1/auth/logout-all")]
pub async fn logout_all(
    state: web::Data<AppState>,
    client: RequestClient,
    caller: AuthenticatedOnline,
    OptionalJson(body): OptionalJson<LogoutAllRequest>,
) -> Result<HttpResponse, ApiError> {
    let except_current = body.unwrap_or_default().except_current;
    let revoked = own_sessions::end_all(&state, &caller.0, except_current, &client.0).await?;
    Ok(HttpResponse::Ok().json(RevokedResponse { revoked }))
}
