//! `POST /v1/auth/login`

use actix_web::{HttpResponse, post, web};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::session_tokens::{self, SessionTokens};
use crate::{
    app::{
        login::{Login, LoginOutcome, login as log_in},
        login_challenge::Challenge,
        password_login::PasswordLogin,
    },
    domain::{
        bearer_secret::DeviceToken, display_name::DisplayName, email_address::EmailAddress,
        plain_password::PlainPassword,
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

/// A login.
#[derive(Deserialize, ToSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct LoginRequest {
    /// The address.
    #[schema(example = "ada@example.com")]
    email: String,
    /// The password.
    #[schema(example = "SecurePassword123")]
    password: String,
    /// The answer of the captcha widget, when an earlier answer said `captchaRequired`. The widget must have the action `login` and be on a page of a
    /// host that the operator allows. The answer counts once.
    captcha_token: Option<String>,
    /// What to call this device in the list of sessions; 1 to 100 characters.
    #[schema(example = "Ada's laptop")]
    device_name: Option<String>,
    /// Whether the session may last longer than twelve hours.
    #[serde(default)]
    remember_me: bool,
}

/// The password is right.
#[derive(Serialize, ToSchema)]
#[serde(untagged)]
pub enum LoginResponse {
    /// The user is logged in.
    Session {
        /// `false`.
        #[schema(example = false)]
        requires2fa: bool,
        /// The session's tokens.
        #[serde(flatten)]
        tokens: SessionTokens,
    },
    /// A second factor is asked for; nobody is logged in yet.
    Challenge(LoginChallengeResponse),
}

/// What a second factor is presented with.
#[derive(Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct LoginChallengeResponse {
    /// `true`.
    #[schema(example = true)]
    requires2fa: bool,
    /// To be given with the second factor, within five minutes.
    #[schema(example = "fac_Q3v1xk2m3bZ0y8n6r4t1w9u7s5p3o1i8e6a4d2f0g9h")]
    challenge_id: String,
    /// What would do: `otp` at `/v1/auth/2fa/verify`, `recovery_code` at `/v1/auth/recovery-login`.
    #[schema(example = json!(["otp", "recovery_code"]))]
    methods: Vec<&'static str>,
}

/// Logs in. Unknown address, wrong password and closed account are one answer.
#[utoipa::path(tag = "sessions", request_body = LoginRequest,
    params(("X-Token-Transport" = Option<String>, Header, example = "cookie",
        description = "`cookie`: the refresh token travels in the cookie `__Host-refresh` instead of the bodies.")),
    responses(
    (status = 200, body = LoginResponse),
    (status = 400, body = ProblemDocument, content_type = "application/problem+json",
        description = "`captcha_required`, or a request that cannot be understood."),
    (status = 401, body = ProblemDocument, content_type = "application/problem+json"),
    (status = 403, body = ProblemDocument, content_type = "application/problem+json",
        description = "`email_unverified`: told only after the right password."),
    (status = 413, body = ProblemDocument, content_type = "application/problem+json"),
    (status = 415, body = ProblemDocument, content_type = "application/problem+json"),
    (status = 422, body = ProblemDocument, content_type = "application/problem+json"),
    (status = 429, body = ProblemDocument, content_type = "application/problem+json",
        description = "`too_many_attempts` at the account, or `rate_limited` by address."),
    (status = 503, body = ProblemDocument, content_type = "application/problem+json"),
))]
#[post("/v1/auth/login")]
pub async fn login(
    state: web::Data<AppState>,
    client: RequestClient,
    device: DeviceCookie,
    transport: TokenTransport,
    ValidJson(body): ValidJson<LoginRequest>,
) -> Result<HttpResponse, ApiError> {
    let login = parse(body, device.0.clone())?;
    charge(&state, &client, Route::Login).await?;
    let outcome = log_in(&state, login, &client.0).await?;
    Ok(match outcome {
        LoginOutcome::Session(session) => {
            session_tokens::logged_in(&state, &session, device.0.as_ref(), transport, |tokens| {
                LoginResponse::Session { requires2fa: false, tokens }
            })
        }
        LoginOutcome::Challenge(challenge) => HttpResponse::Ok().json(present(&challenge)),
    })
}

fn present(challenge: &Challenge) -> LoginResponse {
    LoginResponse::Challenge(LoginChallengeResponse {
        requires2fa: true,
        challenge_id: challenge.token.expose().to_owned(),
        methods: challenge.methods.clone(),
    })
}

fn parse(body: LoginRequest, device: Option<DeviceToken>) -> Result<Login, EdgeError> {
    let credentials = parse_credentials(&body.email, &body.password, body.captcha_token, device)?;
    let device_name = body.device_name.as_deref().map(DisplayName::parse).transpose().map_err(|_| {
        EdgeError::invalid("deviceName", "device_name_invalid", "Use 1 to 100 printable characters.")
    })?;
    let device_name = device_name.map(|name| name.as_str().to_owned());
    Ok(Login { credentials, device_name, remember_me: body.remember_me })
}

/// Address and password as they are presented anywhere.
pub fn parse_credentials(
    email: &str,
    password: &str,
    captcha_token: Option<String>,
    device: Option<DeviceToken>,
) -> Result<PasswordLogin, EdgeError> {
    let email = parse_email("email", email)?;
    let password = PlainPassword::presented(password).map_err(EdgeError::Password)?;
    Ok(PasswordLogin { email, password, captcha_token, device })
}

/// The address in the field `field`.
pub fn parse_email(field: &str, text: &str) -> Result<EmailAddress, EdgeError> {
    EmailAddress::parse(text)
        .map_err(|_| EdgeError::invalid(field, "email_invalid", "This is not an e-mail address."))
}
