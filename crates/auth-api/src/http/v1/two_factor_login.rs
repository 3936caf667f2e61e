//! `POST /v1/auth/2fa/verify` and `POST /v1/auth/recovery-login`

use actix_web::{HttpResponse, post, web};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::{
    login::parse_credentials,
    session_tokens::{self, SessionTokens},
};
use crate::{
    app::{
        recovery_login::{PasswordProof, RecoveryLogin, recovery_login as log_in_by_recovery},
        verify_second_factor::{SecondFactorLogin, verify_second_factor as verify_code},
    },
    domain::{
        bearer_secret::{DeviceToken, LoginChallengeToken},
        recovery_code::RecoveryCode,
    },
    http::{
        ApiError,
        device_cookie::DeviceCookie,
        edge_error::EdgeError,
        json::ValidJson,
        limits::{Route, charge},
        openapi::ProblemDocument,
        request_client::RequestClient,
        token_transport::TokenTransport,
    },
    state::AppState,
};

/// The second factor of a login.
#[derive(Deserialize, ToSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct VerifySecondFactorRequest {
    /// What the login answered.
    #[schema(example = "fac_Q3v1xk2m3bZ0y8n6r4t1w9u7s5p3o1i8e6a4d2f0g9h")]
    challenge_id: String,
    /// The code that the authenticator app shows.
    #[schema(example = "492039")]
    otp: String,
    /// Taken and never asked for: five wrong codes end the challenge, whoever gives them.
    #[expect(dead_code, reason = "part of the contract; nothing asks for it")]
    captcha_token: Option<String>,
    /// Whether this browser needs no second factor for the next thirty days.
    #[serde(default)]
    trust_device: bool,
}

/// Finishes a login with a code of the authenticator app. A code works once, a challenge for five minutes, five codes and one session.
#[utoipa::path(tag = "second factor", request_body = VerifySecondFactorRequest,
    params(("X-Token-Transport" = Option<String>, Header, example = "cookie",
        description = "`cookie`: the refresh token travels in the cookie `__Host-refresh` instead of the bodies.")),
    responses(
    (status = 200, body = SessionTokens),
    (status = 400, body = ProblemDocument, content_type = "application/problem+json",
        description = "`otp_invalid`: try again. `challenge_invalid`: log in again."),
    (status = 403, body = ProblemDocument, content_type = "application/problem+json",
        description = "`origin_not_allowed`: cookies are for listed pages only."),
    (status = 413, body = ProblemDocument, content_type = "application/problem+json"),
    (status = 415, body = ProblemDocument, content_type = "application/problem+json"),
    (status = 423, body = ProblemDocument, content_type = "application/problem+json",
        description = "`second_factor_locked`: there were too many wrong codes."),
    (status = 429, body = ProblemDocument, content_type = "application/problem+json"),
    (status = 503, body = ProblemDocument, content_type = "application/problem+json"),
))]
#[post("/v1/auth/2fa/verify")]
pub async fn verify_second_factor(
    state: web::Data<AppState>,
    client: RequestClient,
    device: DeviceCookie,
    transport: TokenTransport,
    ValidJson(body): ValidJson<VerifySecondFactorRequest>,
) -> Result<HttpResponse, ApiError> {
    let login = SecondFactorLogin {
        challenge: LoginChallengeToken::parse(&body.challenge_id),
        otp: body.otp,
        device: device.0.clone(),
        trust_device: body.trust_device,
    };
    charge(&state, &client, Route::SecondFactor).await?;
    let session = verify_code(&state, login, &client.0).await?;
    Ok(session_tokens::logged_in(&state, &session, device.0.as_ref(), transport, |tokens| tokens))
}

/// A login without the authenticator app: either `challengeId`, or `email` and `password`.
#[derive(Deserialize, ToSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct RecoveryLoginRequest {
    /// What the login answered.
    #[schema(example = "fac_Q3v1xk2m3bZ0y8n6r4t1w9u7s5p3o1i8e6a4d2f0g9h", nullable = false)]
    challenge_id: Option<String>,
    /// The address.
    #[schema(nullable = false)]
    email: Option<String>,
    /// The password.
    #[schema(nullable = false)]
    password: Option<String>,
    /// The answer of the captcha widget, when an earlier answer said `captchaRequired`. The widget must have the action `login`, as for a login, and be on
    /// a page of a host that the operator allows. The answer counts once.
    #[schema(nullable = false)]
    captcha_token: Option<String>,
    /// One of the codes, in any case and grouping.
    #[schema(example = "7K2M9Q-4TXV0B-8HRD1N-C5WJ3Z")]
    recovery_code: String,
}

/// The user is logged in.
#[derive(Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct RecoveryLoginResponse {
    #[serde(flatten)]
    tokens: SessionTokens,
    /// How many recovery codes are left.
    #[schema(example = 9)]
    recovery_codes_remaining: u32,
}

/// Logs in with a recovery code in place of the authenticator app. The code is used up, and its owner gets a mail.
#[utoipa::path(tag = "second factor", request_body = RecoveryLoginRequest,
    params(("X-Token-Transport" = Option<String>, Header, example = "cookie",
        description = "`cookie`: the refresh token travels in the cookie `__Host-refresh` instead of the bodies.")),
    responses(
    (status = 200, body = RecoveryLoginResponse),
    (status = 400, body = ProblemDocument, content_type = "application/problem+json",
        description = "`otp_invalid`: try again. `challenge_invalid`: log in again. `captcha_required`."),
    (status = 401, body = ProblemDocument, content_type = "application/problem+json",
        description = "`invalid_credentials`, as at `/v1/auth/login`."),
    (status = 403, body = ProblemDocument, content_type = "application/problem+json",
        description = "`email_unverified`: told only after the right password. `origin_not_allowed`: cookies are for listed pages only."),
    (status = 413, body = ProblemDocument, content_type = "application/problem+json"),
    (status = 415, body = ProblemDocument, content_type = "application/problem+json"),
    (status = 422, body = ProblemDocument, content_type = "application/problem+json"),
    (status = 423, body = ProblemDocument, content_type = "application/problem+json",
        description = "`second_factor_locked`: there were too many wrong codes."),
    (status = 429, body = ProblemDocument, content_type = "application/problem+json"),
    (status = 503, body = ProblemDocument, content_type = "application/problem+json"),
))]
#[post("/v1/auth/recovery-login")]
pub async fn recovery_login(
    state: web::Data<AppState>,
    client: RequestClient,
    device: DeviceCookie,
    transport: TokenTransport,
    ValidJson(body): ValidJson<RecoveryLoginRequest>,
) -> Result<HttpResponse, ApiError> {
    let login = parse(body, device.0.clone())?;
    let route = match login.password {
        PasswordProof::Challenge(_) => Route::SecondFactor,
        PasswordProof::Password(_) => Route::Login,
    };
    charge(&state, &client, route).await?;
    let recovered = log_in_by_recovery(&state, login, &client.0).await?;
    let recovery_codes_remaining = recovered.remaining;
    let body = |tokens| RecoveryLoginResponse { tokens, recovery_codes_remaining };
    Ok(session_tokens::logged_in(&state, &recovered.logged_in, device.0.as_ref(), transport, body))
}

fn parse(body: RecoveryLoginRequest, device: Option<DeviceToken>) -> Result<RecoveryLogin, EdgeError> {
    let code = RecoveryCode::parse(&body.recovery_code);
    let ambiguous = |field| {
        EdgeError::invalid(field, "ambiguous_login", "Give either challengeId, or email and password.")
    };
    match (body.challenge_id, body.email, body.password) {
        (Some(challenge), None, None) => {
            let challenge = LoginChallengeToken::parse(&challenge);
            Ok(RecoveryLogin { password: PasswordProof::Challenge(challenge), code, device })
        }
        (None, Some(email), Some(password)) => {
            // The device is known by its token twice: once for the password's budget, once for the session.
            let again = device.as_ref().and_then(|token| DeviceToken::parse(token.expose()));
            let credentials = parse_credentials(&email, &password, body.captcha_token, again)?;
            Ok(RecoveryLogin { password: PasswordProof::Password(credentials), code, device })
        }
        (Some(_), ..) => Err(ambiguous("challengeId")),
        (None, None, _) => Err(ambiguous("email")),
        (None, Some(_), None) => Err(ambiguous("password")),
    }
}
