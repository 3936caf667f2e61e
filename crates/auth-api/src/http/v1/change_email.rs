//! `POST /v1/auth/change-email`, `/v1/auth/change-email/confirm` and `/v1/auth/change-email/undo`

use actix_web::{HttpResponse, post, web};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::{login::parse_email, proof::ProofRequest, resend_verification::AcceptedResponse};
use crate::{
    app::{
        change_email::change_email as ask_for_change,
        confirm_email_change::confirm_email_change as confirm_change,
        undo_email_change::undo_email_change as undo_change,
    },
    domain::bearer_secret::OneTimeToken,
    http::{
        ApiError,
        authenticated::AuthenticatedOnline,
        device_cookie::DeviceCookie,
        json::ValidJson,
        limits::{Route, charge},
        openapi::ProblemDocument,
        request_client::RequestClient,
    },
    state::AppState,
};

/// Another address for the account.
#[derive(Deserialize, ToSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct ChangeEmailRequest {
    /// The new address.
    #[schema(example = "ada@example.org")]
    new_email: String,
    /// The password, however recent the last authentication is.
    #[schema(example = "SecurePassword123")]
    password: Option<String>,
    /// A code of the authenticator app, or a recovery code, where the account has a second factor.
    #[schema(example = "492039")]
    otp: Option<String>,
}

/// Sends the new address a link that confirms the change within an hour, and tells the old one, which stays valid until then. The answer is the same
/// whether or not the new address has an account.
#[utoipa::path(tag = "accounts", security(("bearer" = [])), request_body = ChangeEmailRequest, responses(
    (status = 202, body = AcceptedResponse),
    (status = 400, body = ProblemDocument, content_type = "application/problem+json"),
    (status = 401, body = ProblemDocument, content_type = "application/problem+json",
        description = "`reauth_required`: give the password. `otp_required`: give a code too. `invalid_credentials`: the password is wrong."),
    (status = 413, body = ProblemDocument, content_type = "application/problem+json"),
    (status = 415, body = ProblemDocument, content_type = "application/problem+json"),
    (status = 422, body = ProblemDocument, content_type = "application/problem+json",
        description = "`email_unchanged`: the account has the address already. `password_too_long`."),
    (status = 423, body = ProblemDocument, content_type = "application/problem+json",
        description = "`second_factor_locked`: there were too many wrong codes."),
    (status = 429, body = ProblemDocument, content_type = "application/problem+json"),
    (status = 503, body = ProblemDocument, content_type = "application/problem+json"),
))]
#[post("/v1/auth/change-email")]
pub async fn change_email(
    state: web::Data<AppState>,
    caller: AuthenticatedOnline,
    client: RequestClient,
    device: DeviceCookie,
    ValidJson(body): ValidJson<ChangeEmailRequest>,
) -> Result<HttpResponse, ApiError> {
    let new_email = parse_email("newEmail", &body.new_email)?;
    let proof = ProofRequest { password: body.password, otp: body.otp }.parse(device.0)?;
    charge(&state, &client, Route::Mail).await?;
    ask_for_change(&state, &caller.0, new_email, proof, &client.0).await?;
    let message = "If the address can be used, a mail with a link is on its way to it.";
    Ok(HttpResponse::Accepted().json(AcceptedResponse { message }))
}

/// The token of a mail about a change of address.
#[derive(Deserialize, ToSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct EmailChangeTokenRequest {
    /// The token of the mail's link.
    #[schema(example = "fat_1qV0m9b2s6bYw3C4xT8kz5hG7n2JrLpQeUaXfDyMoWc")]
    token: String,
}

/// What became of the address.
#[derive(Serialize, ToSchema)]
pub struct EmailChangeResponse {
    /// `changed` or `restored`.
    #[schema(example = "changed")]
    status: &'static str,
}

/// Makes the new address the account's. It works from any browser: the token is the proof. The old address gets a link that undoes the change within
/// 72 hours.
#[utoipa::path(tag = "accounts", request_body = EmailChangeTokenRequest, responses(
    (status = 200, body = EmailChangeResponse),
    (status = 400, body = ProblemDocument, content_type = "application/problem+json"),
    (status = 409, body = ProblemDocument, content_type = "application/problem+json",
        description = "`email_taken`: another account has the address by now."),
    (status = 413, body = ProblemDocument, content_type = "application/problem+json"),
    (status = 415, body = ProblemDocument, content_type = "application/problem+json"),
    (status = 429, body = ProblemDocument, content_type = "application/problem+json"),
    (status = 503, body = ProblemDocument, content_type = "application/problem+json"),
))]
#[post("/v1/auth/change-email/confirm")]
pub async fn confirm_email_change(
    state: web::Data<AppState>,
    client: RequestClient,
    ValidJson(body): ValidJson<EmailChangeTokenRequest>,
) -> Result<HttpResponse, ApiError> {
    charge(&state, &client, Route::Anonymous).await?;
    confirm_change(&state, OneTimeToken::parse(&body.token), &client.0).await?;
    Ok(HttpResponse::Ok().json(EmailChangeResponse { status: "changed" }))
}

/// Gives the account back to its old address. Every session ends, the password opens nothing any more, and the old address gets a link that sets a new
/// one. Changes that were made after this one are undone too.
#[utoipa::path(tag = "accounts", request_body = EmailChangeTokenRequest, responses(
    (status = 200, body = EmailChangeResponse),
    (status = 400, body = ProblemDocument, content_type = "application/problem+json"),
    (status = 409, body = ProblemDocument, content_type = "application/problem+json",
        description = "`email_taken`: another account has the old address by now."),
    (status = 413, body = ProblemDocument, content_type = "application/problem+json"),
    (status = 415, body = ProblemDocument, content_type = "application/problem+json"),
    (status = 429, body = ProblemDocument, content_type = "application/problem+json"),
    (status = 503, body = ProblemDocument, content_type = "application/problem+json"),
))]
#[post("/v1/auth/change-email/undo")]
pub async fn undo_email_change(
    state: web::Data<AppState>,
    client: RequestClient,
    ValidJson(body): ValidJson<EmailChangeTokenRequest>,
) -> Result<HttpResponse, ApiError> {
    charge(&state, &client, Route::Anonymous).await?;
    undo_change(&state, OneTimeToken::parse(&body.token), &client.0).await?;
    Ok(HttpResponse::Ok().json(EmailChangeResponse { status: "restored" }))
}
