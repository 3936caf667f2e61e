//! `POST /v1/auth/change-password`

use actix_web::{HttpResponse, post, web};
use serde::Deserialize;
use utoipa::ToSchema;

use super::{
    proof::ProofRequest,
    session_tokens::{self, SessionTokens},
};
use crate::{
    app::change_password::change_password as change,
    http::{
        ApiError, authenticated::AuthenticatedOnline, device_cookie::DeviceCookie, json::ValidJson,
        openapi::ProblemDocument, request_client::RequestClient, token_transport::TokenTransport,
    },
    state::AppState,
};

/// A new password for whoever knows the current one.
#[derive(Deserialize, ToSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct ChangePasswordRequest {
    /// The password so far.
    #[schema(example = "SecurePassword123")]
    current_password: String,
    /// The new one.
    #[schema(example = "four words nobody guesses", min_length = 15, max_length = 256)]
    new_password: String,
    /// A code of the authenticator app, or a recovery code, where the account has a second factor.
    #[schema(example = "492039")]
    otp: Option<String>,
}

/// Changes the password and ends every session; the answer has the tokens of a new one for the caller. Whatever else was begun in the account is
/// forgotten, no other browser stays known, and the owner gets a mail.
#[utoipa::path(tag = "accounts", security(("bearer" = [])), request_body = ChangePasswordRequest,
    params(("X-Token-Transport" = Option<String>, Header, example = "cookie",
        description = "`cookie`: the refresh token travels in the cookie `__Host-refresh` instead of the bodies.")),
    responses(
    (status = 200, body = SessionTokens),
    (status = 400, body = ProblemDocument, content_type = "application/problem+json", description = "`otp_invalid`."),
    (status = 401, body = ProblemDocument, content_type = "application/problem+json",
        description = "`invalid_credentials`: the current password is wrong. `otp_required`: the code is missing."),
    (status = 403, body = ProblemDocument, content_type = "application/problem+json",
        description = "`origin_not_allowed`: cookies are for listed pages only."),
    (status = 413, body = ProblemDocument, content_type = "application/problem+json"),
    (status = 415, body = ProblemDocument, content_type = "application/problem+json"),
    (status = 422, body = ProblemDocument, content_type = "application/problem+json",
        description = "The new password breaks a rule."),
    (status = 423, body = ProblemDocument, content_type = "application/problem+json",
        description = "`second_factor_locked`: there were too many wrong codes."),
    (status = 429, body = ProblemDocument, content_type = "application/problem+json",
        description = "`too_many_attempts` at the password, or `rate_limited`."),
    (status = 503, body = ProblemDocument, content_type = "application/problem+json"),
))]
#[post("/v1/auth/change-password")]
pub async fn change_password(
    state: web::Data<AppState>,
    caller: AuthenticatedOnline,
    client: RequestClient,
    device: DeviceCookie,
    transport: TokenTransport,
    ValidJson(body): ValidJson<ChangePasswordRequest>,
) -> Result<HttpResponse, ApiError> {
    let proof =
        ProofRequest { password: Some(body.current_password), otp: body.otp }.parse(device.0.clone())?;
    let session = change(&state, &caller.0, &body.new_password, proof, &client.0).await?;
    Ok(session_tokens::logged_in(&state, &session, device.0.as_ref(), transport, |tokens| tokens))
}
