//! `POST /v1/auth/reauthenticate`

use actix_web::{HttpResponse, post, web};
use secrecy::ExposeSecret;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::proof::ProofRequest;
use crate::{
    app::reauthenticate::reauthenticate as prove_again,
    http::{
        ApiError, authenticated::AuthenticatedOnline, device_cookie::DeviceCookie, json::ValidJson,
        openapi::ProblemDocument, request_client::RequestClient,
    },
    state::AppState,
};

/// Proof of who asks.
#[derive(Deserialize, ToSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct ReauthenticateRequest {
    /// The password.
    #[schema(example = "SecurePassword123")]
    password: String,
    /// A code of the authenticator app, or a recovery code, where the account has a second factor.
    #[schema(example = "492039")]
    otp: Option<String>,
}

/// A fresh access token for the same session.
#[derive(Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct ReauthenticateResponse {
    /// PASETO v4.public, to be used in place of the old one. The refresh token stays as it is.
    #[schema(example = "v4.public.eyJpc3MiOiJodHRwczovL2F1dGguZXhhbXBsZS5jb20iLCJz…")]
    access_token: String,
    /// Always `Bearer`.
    #[schema(example = "Bearer")]
    token_type: &'static str,
    /// Seconds until the access token expires.
    #[schema(example = 296)]
    expires_in: u64,
}

/// Proves once more who asks. For five minutes the new access token counts as a recent login.
///
/// A recent login is enough for `/v1/auth/2fa/enable-init`, `/v1/auth/me/export` and `DELETE /v1/auth/me`. Four routes always want the password, and a
/// code where there is a second factor, in their own request: `/v1/auth/change-email`, `/v1/auth/change-password`, `/v1/auth/2fa/disable` and
/// `/v1/auth/2fa/recovery-codes`.
#[utoipa::path(tag = "sessions", security(("bearer" = [])), request_body = ReauthenticateRequest, responses(
    (status = 200, body = ReauthenticateResponse),
    (status = 400, body = ProblemDocument, content_type = "application/problem+json", description = "`otp_invalid`."),
    (status = 401, body = ProblemDocument, content_type = "application/problem+json",
        description = "`invalid_credentials`: the password is wrong. `otp_required`: the code is missing."),
    (status = 413, body = ProblemDocument, content_type = "application/problem+json"),
    (status = 415, body = ProblemDocument, content_type = "application/problem+json"),
    (status = 422, body = ProblemDocument, content_type = "application/problem+json"),
    (status = 423, body = ProblemDocument, content_type = "application/problem+json",
        description = "`second_factor_locked`: there were too many wrong codes."),
    (status = 429, body = ProblemDocument, content_type = "application/problem+json",
        description = "`too_many_attempts` at the password, or `rate_limited`."),
    (status = 503, body = ProblemDocument, content_type = "application/problem+json"),
))]
#[post("/v1/auth/reauthenticate")]
pub async fn reauthenticate(
    state: web::Data<AppState>,
    caller: AuthenticatedOnline,
    client: RequestClient,
    device: DeviceCookie,
    ValidJson(body): ValidJson<ReauthenticateRequest>,
) -> Result<HttpResponse, ApiError> {
    let proof = ProofRequest { password: Some(body.password), otp: body.otp }.parse(device.0)?;
    let access = prove_again(&state, &caller.0, proof, &client.0).await?;
    Ok(HttpResponse::Ok().json(ReauthenticateResponse {
        access_token: access.access_token.expose_secret().to_owned(),
        token_type: "Bearer",
        expires_in: access.expires_in,
    }))
}
