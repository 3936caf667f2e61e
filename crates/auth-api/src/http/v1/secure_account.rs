//! `POST /v1/auth/secure-account`

use actix_web::{HttpResponse, post, web};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use crate::{
    app::secure_account::secure_account as secure,
    domain::bearer_secret::OneTimeToken,
    http::{
        ApiError,
        json::ValidJson,
        limits::{Route, charge},
        openapi::ProblemDocument,
        request_client::RequestClient,
    },
    state::AppState,
};

/// Says that what a mail tells of was somebody else.
#[derive(Deserialize, ToSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct SecureAccountRequest {
    /// The token of the mail's link.
    #[schema(example = "fat_1qV0m9b2s6bYw3C4xT8kz5hG7n2JrLpQeUaXfDyMoWc")]
    token: String,
}

/// Nobody is in the account any more.
#[derive(Serialize, ToSchema)]
pub struct SecureAccountResponse {
    /// Always `secured`.
    #[schema(example = "secured")]
    status: &'static str,
}

/// Ends every session, lets the password open nothing any more and sends a link that sets a new one. The token of each mail works once, for 72 hours.
#[utoipa::path(tag = "accounts", request_body = SecureAccountRequest, responses(
    (status = 200, body = SecureAccountResponse),
    (status = 400, body = ProblemDocument, content_type = "application/problem+json"),
    (status = 413, body = ProblemDocument, content_type = "application/problem+json"),
    (status = 415, body = ProblemDocument, content_type = "application/problem+json"),
    (status = 429, body = ProblemDocument, content_type = "application/problem+json"),
    (status = 503, body = ProblemDocument, content_type = "application/problem+json"),
))]
#[post("/v1/auth/secure-account")]
pub async fn secure_account(
    state: web::Data<AppState>,
    client: RequestClient,
    ValidJson(body): ValidJson<SecureAccountRequest>,
) -> Result<HttpResponse, ApiError> {
    charge(&state, &client, Route::Anonymous).await?;
    secure(&state, OneTimeToken::parse(&body.token), &client.0).await?;
    Ok(HttpResponse::Ok().json(SecureAccountResponse { status: "secured" }))
}
