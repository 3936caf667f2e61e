//! `POST /v1/auth/refresh`

use actix_web::{HttpResponse, Responder, post, web};
use serde::Deserialize;
use utoipa::ToSchema;

use super::session_tokens::SessionTokens;
use crate::{
    app::refresh::refresh as exchange,
    http::{ApiError, json::ValidJson, openapi::ProblemDocument, request_client::RequestClient},
    state::AppState,
};

/// A refresh.
#[derive(Deserialize, ToSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct RefreshRequest {
    /// The refresh token.
    #[schema(example = "far_AQGZ8rR6HH0-jwA7Hwydaj0…")]
    refresh_token: String,
}

/// Exchanges a refresh token. A retry within ten seconds gets the same tokens again.
#[utoipa::path(tag = "sessions", request_body = RefreshRequest, responses(
    (status = 200, body = SessionTokens),
    (status = 400, body = ProblemDocument, content_type = "application/problem+json"),
    (status = 401, body = ProblemDocument, content_type = "application/problem+json",
        description = "`refresh_reused`: the token was used before; the session is over."),
    (status = 413, body = ProblemDocument, content_type = "application/problem+json"),
    (status = 415, body = ProblemDocument, content_type = "application/problem+json"),
    (status = 503, body = ProblemDocument, content_type = "application/problem+json"),
))]
#[post("/v1/auth/refresh")]
pub async fn refresh(
    state: web::Data<AppState>,
    client: RequestClient,
    ValidJson(body): ValidJson<RefreshRequest>,
) -> Result<impl Responder, ApiError> {
    let tokens = exchange(&state, &body.refresh_token, &client.0).await?;
    Ok(HttpResponse::Ok().json(SessionTokens::from(&tokens)))
}
