//! `POST /v1/auth/logout`

use actix_web::{HttpRequest, HttpResponse, post, web};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use crate::{
    app::logout::logout as end_session,
    clients::sessions::SessionCredential,
    http::{
        ApiError,
        authenticated::bearer_token,
        edge_error::EdgeError,
        json::OptionalJson,
        limits::{Route, charge},
        openapi::ProblemDocument,
        request_client::RequestClient,
        token_transport::{TokenTransport, expired_refresh_cookie},
    },
    state::AppState,
};

/// What a browser has stored of this interface goes (ASVS 14.3.1). Not "cookies", which would take those of the whole site: the known device, which keeps
/// strangers from locking the owner out, and everything of its neighbours. Our own is expired by name.
const CLEAR_SITE_DATA: (&str, &str) = ("Clear-Site-Data", "\"cache\", \"storage\"");

/// Which session to end, when it is not the access token's.
#[derive(Deserialize, Default, ToSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct LogoutRequest {
    /// A refresh token of the session.
    refresh_token: Option<String>,
}

/// The session is over.
#[derive(Serialize, ToSchema)]
pub struct LogoutResponse {
    /// Always `logged_out`.
    #[schema(example = "logged_out")]
    status: &'static str,
}

/// Ends the session of a refresh token (in the body or, with `X-Token-Transport: cookie`, in the cookie) or of an access token (in `Authorization`).
/// Idempotent.
#[utoipa::path(tag = "sessions", request_body(content = Option<LogoutRequest>), security(("bearer" = [])),
    params(("X-Token-Transport" = Option<String>, Header, example = "cookie",
        description = "`cookie`: the refresh token travels in the cookie `__Host-refresh`.")),
    responses(
    (status = 200, body = LogoutResponse),
    (status = 400, body = ProblemDocument, content_type = "application/problem+json"),
    (status = 401, body = ProblemDocument, content_type = "application/problem+json"),
    (status = 403, body = ProblemDocument, content_type = "application/problem+json",
        description = "`origin_not_allowed`: cookies are for listed pages only."),
    (status = 413, body = ProblemDocument, content_type = "application/problem+json"),
    (status = 415, body = ProblemDocument, content_type = "application/problem+json"),
    (status = 429, body = ProblemDocument, content_type = "application/problem+json"),
    (status = 503, body = ProblemDocument, content_type = "application/problem+json"),
))]
#[post("/v1/auth/logout")]
pub async fn logout(
    state: web::Data<AppState>,
    client: RequestClient,
    transport: TokenTransport,
    request: HttpRequest,
    OptionalJson(body): OptionalJson<LogoutRequest>,
) -> Result<HttpResponse, ApiError> {
    let in_body = body.unwrap_or_default().refresh_token;
    charge(&state, &client, Route::Anonymous).await?;
    if let Some(credential) = credential(transport, &request, in_body)? {
        end_session(&state, &credential, &client.0).await?;
    }
    Ok(HttpResponse::Ok()
        .insert_header(CLEAR_SITE_DATA)
        .cookie(expired_refresh_cookie())
        .json(LogoutResponse { status: "logged_out" }))
}

/// What names the session. A browser whose cookie is gone has nothing left to end, and is still told to forget the rest.
fn credential(
    transport: TokenTransport,
    request: &HttpRequest,
    in_body: Option<String>,
) -> Result<Option<SessionCredential>, EdgeError> {
    if let Some(token) = transport.refresh_token(request, in_body)? {
        return Ok(Some(SessionCredential::Refresh(token)));
    }
    match (bearer_token(request.headers()), transport) {
        (Ok(token), _) => Ok(Some(SessionCredential::Access(token))),
        (Err(EdgeError::MissingToken), TokenTransport::Cookie) => Ok(None),
        (Err(error), _) => Err(error),
    }
}
