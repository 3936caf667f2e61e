//! `/v1/auth/2fa`: the second factor of one's own account.

use actix_web::{HttpResponse, Responder, get, post, web};
use chrono::{DateTime, Utc};
use secrecy::ExposeSecret;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::proof::ProofRequest;
use crate::{
    app::{disable_totp, enable_totp, recovery_codes, second_factor_status},
    domain::{bearer_secret::EnrolmentToken, recovery_code::RecoveryCode},
    http::{
        ApiError,
        authenticated::AuthenticatedOnline,
        device_cookie::DeviceCookie,
        json::{OptionalJson, ValidJson},
        openapi::ProblemDocument,
        request_client::RequestClient,
    },
    state::AppState,
};

/// How the second factor stands.
#[derive(Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct SecondFactorResponse {
    /// Whether logging in takes a code.
    #[schema(example = true)]
    enabled: bool,
    /// Since when.
    enabled_at: Option<DateTime<Utc>>,
    /// How many recovery codes are left.
    #[schema(example = 10)]
    recovery_codes_remaining: u32,
}

/// How the second factor of one's own account stands. Its secret is told when it is set up, and never again.
#[utoipa::path(tag = "second factor", security(("bearer" = [])), responses(
    (status = 200, body = SecondFactorResponse),
    (status = 401, body = ProblemDocument, content_type = "application/problem+json"),
    (status = 429, body = ProblemDocument, content_type = "application/problem+json"),
    (status = 503, body = ProblemDocument, content_type = "application/problem+json"),
))]
#[get("/v1/auth/2fa")]
pub async fn second_factor(
    state: web::Data<AppState>,
    caller: AuthenticatedOnline,
) -> Result<impl Responder, ApiError> {
    let status = second_factor_status::status(&state, caller.0.user_id()).await?;
    Ok(HttpResponse::Ok().json(SecondFactorResponse {
        enabled: status.enabled_at.is_some(),
        enabled_at: status.enabled_at,
        recovery_codes_remaining: status.recovery_codes_remaining,
    }))
}

/// What an authenticator app needs; told once.
#[derive(Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct EnableInitResponse {
    /// The secret in base 32, to be typed.
    #[schema(example = "GEZDGNBVGY3TQOJQGEZDGNBVGY3TQOJQ")]
    secret: String,
    /// The same as an app reads it.
    #[schema(
        example = "otpauth://totp/app.example.com:ada%40example.com?secret=GEZDGNBVGY3TQOJQGEZDGNBVGY3TQOJQ&issuer=app.example.com"
    )]
    otpauth_url: String,
    /// The same as a QR code: an SVG element that contains nothing active.
    #[schema(example = "<svg xmlns=\"http://www.w3.org/2000/svg\" role=\"img\" …></svg>")]
    qr_svg: String,
    /// To be given with the first code, within ten minutes.
    #[schema(example = "fae_Q3v1xk2m3bZ0y8n6r4t1w9u7s5p3o1i8e6a4d2f0g9h")]
    challenge_id: String,
}

/// Begins to set up an authenticator app. Nothing is asked for at login until the app's first code is given. Only the newest set-up counts.
#[utoipa::path(tag = "second factor", security(("bearer" = [])), request_body(content = Option<ProofRequest>), responses(
    (status = 200, body = EnableInitResponse),
    (status = 400, body = ProblemDocument, content_type = "application/problem+json"),
    (status = 401, body = ProblemDocument, content_type = "application/problem+json",
        description = "`reauth_required`: the last authentication is more than five minutes ago; give the password."),
    (status = 409, body = ProblemDocument, content_type = "application/problem+json",
        description = "`totp_already_enabled`: disable it first."),
    (status = 413, body = ProblemDocument, content_type = "application/problem+json"),
    (status = 415, body = ProblemDocument, content_type = "application/problem+json"),
    (status = 422, body = ProblemDocument, content_type = "application/problem+json"),
    (status = 423, body = ProblemDocument, content_type = "application/problem+json"),
    (status = 429, body = ProblemDocument, content_type = "application/problem+json"),
    (status = 503, body = ProblemDocument, content_type = "application/problem+json"),
))]
#[post("/v1/auth/2fa/enable-init")]
pub async fn enable_init(
    state: web::Data<AppState>,
    caller: AuthenticatedOnline,
    client: RequestClient,
    device: DeviceCookie,
    OptionalJson(body): OptionalJson<ProofRequest>,
) -> Result<impl Responder, ApiError> {
    let proof = body.unwrap_or_default().parse(device.0)?;
    let enrolment = enable_totp::begin(&state, &caller.0, proof, &client.0).await?;
    Ok(HttpResponse::Ok().json(EnableInitResponse {
        secret: enrolment.secret.to_string(),
        qr_svg: enrolment.qr_svg.to_string(),
        otpauth_url: enrolment.otpauth_url.to_string(),
        challenge_id: enrolment.token.expose().to_owned(),
    }))
}

/// The first code.
#[derive(Deserialize, ToSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct EnableCompleteRequest {
    /// What the set-up answered.
    #[schema(example = "fae_Q3v1xk2m3bZ0y8n6r4t1w9u7s5p3o1i8e6a4d2f0g9h")]
    challenge_id: String,
    /// The code that the app shows.
    #[schema(example = "492039")]
    otp: String,
}

/// The second factor is asked for from now on.
#[derive(Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct EnableCompleteResponse {
    /// Ten codes, each of which stands for the app once; told once.
    #[schema(example = json!(["7K2M9Q-4TXV0B-8HRD1N-C5WJ3Z"]))]
    recovery_codes: Vec<String>,
    /// An access token that says that this session has given the second factor, to be used in place of the old one.
    #[schema(example = "v4.public.eyJpc3MiOiJodHRwczovL2F1dGguZXhhbXBsZS5jb20iLCJz…", nullable = false)]
    #[serde(skip_serializing_if = "Option::is_none")]
    access_token: Option<String>,
    /// Seconds until that access token expires.
    #[schema(example = 296, nullable = false)]
    #[serde(skip_serializing_if = "Option::is_none")]
    expires_in: Option<u64>,
}

/// Asks for the second factor from now on. Other sessions end, no browser stays trusted, and the owner gets a mail.
#[utoipa::path(tag = "second factor", security(("bearer" = [])), request_body = EnableCompleteRequest, responses(
    (status = 200, body = EnableCompleteResponse),
    (status = 400, body = ProblemDocument, content_type = "application/problem+json",
        description = "`otp_invalid`: try again. `enrolment_invalid`: begin again."),
    (status = 401, body = ProblemDocument, content_type = "application/problem+json"),
    (status = 409, body = ProblemDocument, content_type = "application/problem+json", description = "`totp_already_enabled`."),
    (status = 413, body = ProblemDocument, content_type = "application/problem+json"),
    (status = 415, body = ProblemDocument, content_type = "application/problem+json"),
    (status = 429, body = ProblemDocument, content_type = "application/problem+json"),
    (status = 503, body = ProblemDocument, content_type = "application/problem+json"),
))]
#[post("/v1/auth/2fa/enable-complete")]
pub async fn enable_complete(
    state: web::Data<AppState>,
    caller: AuthenticatedOnline,
    client: RequestClient,
    ValidJson(body): ValidJson<EnableCompleteRequest>,
) -> Result<impl Responder, ApiError> {
    let token = EnrolmentToken::parse(&body.challenge_id);
    let enabled = enable_totp::complete(&state, &caller.0, token, &body.otp, &client.0).await?;
    Ok(HttpResponse::Ok().json(EnableCompleteResponse {
        recovery_codes: shown(&enabled.recovery_codes),
        expires_in: enabled.access.as_ref().map(|access| access.expires_in),
        access_token: enabled.access.map(|access| access.access_token.expose_secret().to_owned()),
    }))
}

/// No second factor is asked for any more.
#[derive(Serialize, ToSchema)]
pub struct DisableResponse {
    /// Always `disabled`.
    #[schema(example = "disabled")]
    status: &'static str,
}

/// Disables the second factor, for somebody who gives the password and the factor itself, or a recovery code. Other sessions end, no browser stays
/// trusted, the recovery codes are worth nothing, and the owner gets a mail.
#[utoipa::path(tag = "second factor", security(("bearer" = [])), request_body(content = Option<ProofRequest>), responses(
    (status = 200, body = DisableResponse),
    (status = 400, body = ProblemDocument, content_type = "application/problem+json", description = "`otp_invalid`."),
    (status = 401, body = ProblemDocument, content_type = "application/problem+json",
        description = "`reauth_required`: the password is missing. `otp_required`: the code is. `invalid_credentials`: the password is wrong."),
    (status = 409, body = ProblemDocument, content_type = "application/problem+json", description = "`totp_not_enabled`."),
    (status = 413, body = ProblemDocument, content_type = "application/problem+json"),
    (status = 415, body = ProblemDocument, content_type = "application/problem+json"),
    (status = 422, body = ProblemDocument, content_type = "application/problem+json"),
    (status = 423, body = ProblemDocument, content_type = "application/problem+json",
        description = "`second_factor_locked`: there were too many wrong codes."),
    (status = 429, body = ProblemDocument, content_type = "application/problem+json"),
    (status = 503, body = ProblemDocument, content_type = "application/problem+json"),
))]
#[post("/v1/auth/2fa/disable")]
pub async fn disable(
    state: web::Data<AppState>,
    caller: AuthenticatedOnline,
    client: RequestClient,
    device: DeviceCookie,
    OptionalJson(body): OptionalJson<ProofRequest>,
) -> Result<impl Responder, ApiError> {
    let proof = body.unwrap_or_default().parse(device.0)?;
    disable_totp::disable(&state, &caller.0, proof, &client.0).await?;
    Ok(HttpResponse::Ok().json(DisableResponse { status: "disabled" }))
}

/// New recovery codes.
#[derive(Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct RecoveryCodesResponse {
    /// Ten codes, each of which stands for the app once; told once.
    #[schema(example = json!(["7K2M9Q-4TXV0B-8HRD1N-C5WJ3Z"]))]
    recovery_codes: Vec<String>,
}

/// Makes new recovery codes, for somebody who gives the password and the second factor. All earlier ones are worth nothing from now on.
#[utoipa::path(tag = "second factor", security(("bearer" = [])), request_body(content = Option<ProofRequest>), responses(
    (status = 200, body = RecoveryCodesResponse),
    (status = 400, body = ProblemDocument, content_type = "application/problem+json", description = "`otp_invalid`."),
    (status = 401, body = ProblemDocument, content_type = "application/problem+json",
        description = "`reauth_required`: the password is missing. `otp_required`: the code is. `invalid_credentials`: the password is wrong."),
    (status = 409, body = ProblemDocument, content_type = "application/problem+json", description = "`totp_not_enabled`."),
    (status = 413, body = ProblemDocument, content_type = "application/problem+json"),
    (status = 415, body = ProblemDocument, content_type = "application/problem+json"),
    (status = 422, body = ProblemDocument, content_type = "application/problem+json"),
    (status = 423, body = ProblemDocument, content_type = "application/problem+json",
        description = "`second_factor_locked`: there were too many wrong codes."),
    (status = 429, body = ProblemDocument, content_type = "application/problem+json"),
    (status = 503, body = ProblemDocument, content_type = "application/problem+json"),
))]
#[post("/v1/auth/2fa/recovery-codes")]
pub async fn new_recovery_codes(
    state: web::Data<AppState>,
    caller: AuthenticatedOnline,
    client: RequestClient,
    device: DeviceCookie,
    OptionalJson(body): OptionalJson<ProofRequest>,
) -> Result<impl Responder, ApiError> {
    let proof = body.unwrap_or_default().parse(device.0)?;
    let codes = recovery_codes::regenerate(&state, &caller.0, proof, &client.0).await?;
    Ok(HttpResponse::Ok().json(RecoveryCodesResponse { recovery_codes: shown(&codes) }))
}

fn shown(codes: &[RecoveryCode]) -> Vec<String> {
    codes.iter().map(RecoveryCode::grouped).collect()
}
