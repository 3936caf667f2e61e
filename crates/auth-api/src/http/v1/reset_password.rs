//! `POST /v1/auth/reset-password`

use actix_web::{HttpRequest, HttpResponse, post, web};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use crate::{
    app::reset_password::reset_password as reset,
    domain::bearer_secret::OneTimeToken,
    http::{
        ApiError,
        device_cookie::set_device_cookie,
        idempotency::answer_once,
        json::ValidJson,
        limits::{Route, charge},
        openapi::ProblemDocument,
        request_client::RequestClient,
    },
    state::AppState,
};

/// A new password for whoever got the mail.
#[derive(Deserialize, ToSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct ResetPasswordRequest {
    /// The token of the mail's link.
    #[schema(example = "fat_1qV0m9b2s6bYw3C4xT8kz5hG7n2JrLpQeUaXfDyMoWc")]
    token: String,
    /// The new password.
    #[schema(example = "four words nobody guesses", min_length = 15, max_length = 256)]
    new_password: String,
}

/// The password is another one.
#[derive(Serialize, ToSchema)]
pub struct ResetPasswordResponse {
    /// Always `password_reset`.
    #[schema(example = "password_reset")]
    status: &'static str,
}

/// Sets a new password and ends every session. Nobody is logged in by it, a second factor is asked for as before, and the owner gets a mail. A token
/// works once, and makes the browser a known device by a cookie; one whose request failed for another reason than the token stays good.
#[utoipa::path(tag = "accounts", request_body = ResetPasswordRequest,
    params(("Idempotency-Key" = Option<String>, Header, example = "8e03978e-40d5-43dd-bc93-6894a57f9324",
        description = "16 to 255 printable characters: what comes again within a day after a success, with the same key, gets the same answer \
                       and does nothing. After a refusal the key is free again.")),
    responses(
    (status = 200, body = ResetPasswordResponse),
    (status = 400, body = ProblemDocument, content_type = "application/problem+json",
        description = "`token_invalid`: ask for another mail."),
    (status = 409, body = ProblemDocument, content_type = "application/problem+json",
        description = "`idempotency_in_progress`: the first request with the key is not finished."),
    (status = 413, body = ProblemDocument, content_type = "application/problem+json"),
    (status = 415, body = ProblemDocument, content_type = "application/problem+json"),
    (status = 422, body = ProblemDocument, content_type = "application/problem+json",
        description = "The new password breaks a rule, or `idempotency_key_reused`."),
    (status = 429, body = ProblemDocument, content_type = "application/problem+json"),
    (status = 503, body = ProblemDocument, content_type = "application/problem+json"),
))]
#[post("/v1/auth/reset-password")]
pub async fn reset_password(
    state: web::Data<AppState>,
    client: RequestClient,
    request: HttpRequest,
    ValidJson(body): ValidJson<ResetPasswordRequest>,
) -> Result<HttpResponse, ApiError> {
    charge(&state, &client, Route::Anonymous).await?;
    let mut device = None;
    let mut answer = answer_once(&state, &request, async || {
        let token = OneTimeToken::parse(&body.token);
        device = Some(reset(&state, token, &body.new_password, &client.0).await?);
        Ok(HttpResponse::Ok().json(ResetPasswordResponse { status: "password_reset" }))
    })
    .await?;
    // Never part of an answer that is kept: only the browser that made the change gets it.
    if let Some(device) = &device {
        set_device_cookie(&mut answer, device);
    }
    Ok(answer)
}
