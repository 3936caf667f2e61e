//! `POST /v1/auth/refresh`

use actix_web::{HttpRequest, HttpResponse, post, web};
use secrecy::ExposeSecret;
use serde::Deserialize;
use utoipa::ToSchema;

use super::session_tokens::{self, SessionTokens};
use crate::{
    app::refresh::refresh as exchange,
    http::{
        ApiError, edge_error::EdgeError, json::OptionalJson, limits::charge_refresh,
        openapi::ProblemDocument, request_client::RequestClient, token_transport::TokenTransport,
    },
    state::AppState,
};

/// A refresh.
#[derive(Deserialize, Default, ToSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct RefreshRequest {
    /// The refresh token; missing with `X-Token-Transport: cookie`.
    #[schema(example = "far_AQGZ8rR6HH0-jwA7Hwydaj0…", nullable = false)]
    refresh_token: Option<String>,
}

/// Exchanges a refresh token. A retry within ten seconds gets the same tokens again.
#[utoipa::path(tag = "sessions", request_body = RefreshRequest,
    params(("X-Token-Transport" = Option<String>, Header, example = "cookie",
        description = "`cookie`: the refresh token travels in the cookie `__Host-refresh` instead of the bodies.")),
    responses(
    (status = 200, body = SessionTokens),
    (status = 400, body = ProblemDocument, content_type = "application/problem+json"),
    (status = 401, body = ProblemDocument, content_type = "application/problem+json",
        description = "`refresh_reused`: the token was used before; the session is over."),
    (status = 403, body = ProblemDocument, content_type = "application/problem+json",
        description = "`origin_not_allowed`: cookies are for listed pages only."),
    (status = 413, body = ProblemDocument, content_type = "application/problem+json"),
    (status = 415, body = ProblemDocument, content_type = "application/problem+json"),
    (status = 429, body = ProblemDocument, content_type = "application/problem+json"),
    (status = 503, body = ProblemDocument, content_type = "application/problem+json"),
))]
#[post("/v1/auth/refresh")]
pub async fn refresh(
    state: web::Data<AppState>,
    client: RequestClient,
    transport: TokenTransport,
    request: HttpRequest,
    OptionalJson(body): OptionalJson<RefreshRequest>,
) -> Result<HttpResponse, ApiError> {
    let token = transport.refresh_token(&request, body.unwrap_or_default().refresh_token)?;
    let token = token.ok_or_else(|| missing(transport))?;
    charge_refresh(&state, &client, &token).await?;
    let tokens = exchange(&state, token.expose_secret(), &client.0).await?;
    Ok(session_tokens::answer(&state, &tokens, transport, |tokens| tokens))
}

fn missing(transport: TokenTransport) -> EdgeError {
    match transport {
        TokenTransport::Body => {
            EdgeError::invalid("refreshToken", "missing_field", "This field is required.")
        }
        TokenTransport::Cookie => EdgeError::MissingCookie,
    }
}
