//! `DELETE /v1/auth/me` and `POST /v1/auth/me/restore`

use actix_web::{HttpResponse, delete, post, web};
use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::proof::ProofRequest;
use crate::{
    app::delete_account as account_deletion,
    domain::bearer_secret::OneTimeToken,
    http::{
        ApiError,
        authenticated::AuthenticatedOnline,
        device_cookie::DeviceCookie,
        json::{OptionalJson, ValidJson},
        limits::{Route, charge},
        openapi::ProblemDocument,
        request_client::RequestClient,
    },
    state::AppState,
};

/// The account is closed and will be deleted.
#[derive(Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct DeletionResponse {
    /// When; until then the link in the mail takes it back.
    deletes_at: DateTime<Utc>,
}

/// Closes one's account, ends every session and deletes it after 14 days. It needs a recent login or the password.
#[utoipa::path(tag = "accounts", request_body(content = Option<ProofRequest>), security(("bearer" = [])), responses(
    (status = 202, body = DeletionResponse),
    (status = 400, body = ProblemDocument, content_type = "application/problem+json"),
    (status = 401, body = ProblemDocument, content_type = "application/problem+json",
        description = "`reauth_required`: give the password, or reauthenticate first. `otp_required`: give a code too. `invalid_credentials`: the password is wrong."),
    (status = 413, body = ProblemDocument, content_type = "application/problem+json"),
    (status = 415, body = ProblemDocument, content_type = "application/problem+json"),
    (status = 422, body = ProblemDocument, content_type = "application/problem+json"),
    (status = 423, body = ProblemDocument, content_type = "application/problem+json"),
    (status = 429, body = ProblemDocument, content_type = "application/problem+json"),
    (status = 503, body = ProblemDocument, content_type = "application/problem+json"),
))]
#[delete("/v1/auth/me")]
pub async fn delete_account(
    state: web::Data<AppState>,
    client: RequestClient,
    caller: AuthenticatedOnline,
    device: DeviceCookie,
    OptionalJson(body): OptionalJson<ProofRequest>,
) -> Result<HttpResponse, ApiError> {
    let proof = body.unwrap_or_default().parse(device.0)?;
    let deletes_at = account_deletion::delete_account(&state, &caller.0, proof, &client.0).await?;
    Ok(HttpResponse::Accepted().json(DeletionResponse { deletes_at }))
}

/// The token of the mail.
#[derive(Deserialize, ToSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct RestoreRequest {
    /// The token of the mail's link.
    #[schema(example = "fat_1qV0m9b2s6bYw3C4xT8kz5hG7n2JrLpQeUaXfDyMoWc")]
    token: String,
}

/// The account is open again.
#[derive(Serialize, ToSchema)]
pub struct RestoreResponse {
    /// Always `restored`.
    #[schema(example = "restored")]
    status: &'static str,
}

/// Takes the deletion of an account back. Log in afterwards.
#[utoipa::path(tag = "accounts", request_body = RestoreRequest, responses(
    (status = 200, body = RestoreResponse),
    (status = 400, body = ProblemDocument, content_type = "application/problem+json"),
    (status = 413, body = ProblemDocument, content_type = "application/problem+json"),
    (status = 415, body = ProblemDocument, content_type = "application/problem+json"),
    (status = 429, body = ProblemDocument, content_type = "application/problem+json"),
    (status = 503, body = ProblemDocument, content_type = "application/problem+json"),
))]
#[post("/v1/auth/me/restore")]
pub async fn restore_account(
    state: web::Data<AppState>,
    client: RequestClient,
    ValidJson(body): ValidJson<RestoreRequest>,
) -> Result<HttpResponse, ApiError> {
    charge(&state, &client, Route::Anonymous).await?;
    account_deletion::restore_account(&state, OneTimeToken::parse(&body.token), &client.0).await?;
    Ok(HttpResponse::Ok().json(RestoreResponse { status: "restored" }))
}
