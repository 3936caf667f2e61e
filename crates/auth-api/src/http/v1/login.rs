//! `POST /v1/auth/login`

use actix_web::{HttpResponse, Responder, post, web};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::session_tokens::SessionTokens;
use crate::{
    app::login::{Login, login as log_in},
    domain::{display_name::DisplayName, email_address::EmailAddress, plain_password::PlainPassword},
    http::{
        ApiError, edge_error::EdgeError, json::ValidJson, openapi::ProblemDocument,
        request_client::RequestClient,
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
    /// The answer of the captcha widget, when an earlier answer said `captchaRequired`.
    #[expect(dead_code, reason = "part of the contract; nothing asks for it before there are limits")]
    captcha_token: Option<String>,
    /// What to call this device in the list of sessions; 1 to 100 characters.
    #[schema(example = "Ada's laptop")]
    device_name: Option<String>,
    /// Whether the session may last longer than twelve hours.
    #[serde(default)]
    remember_me: bool,
}

/// The user is logged in.
#[derive(Serialize, ToSchema)]
pub struct LoginResponse {
    /// Whether a second factor is still to be given.
    #[schema(example = false)]
    requires2fa: bool,
    #[serde(flatten)]
    tokens: SessionTokens,
}

/// Logs in. Unknown address, wrong password and closed account are one answer.
#[utoipa::path(tag = "sessions", request_body = LoginRequest, responses(
    (status = 200, body = LoginResponse),
    (status = 400, body = ProblemDocument, content_type = "application/problem+json"),
    (status = 401, body = ProblemDocument, content_type = "application/problem+json"),
    (status = 403, body = ProblemDocument, content_type = "application/problem+json",
        description = "`email_unverified`: told only after the right password."),
    (status = 413, body = ProblemDocument, content_type = "application/problem+json"),
    (status = 415, body = ProblemDocument, content_type = "application/problem+json"),
    (status = 422, body = ProblemDocument, content_type = "application/problem+json"),
    (status = 503, body = ProblemDocument, content_type = "application/problem+json"),
))]
#[post("/v1/auth/login")]
pub async fn login(
    state: web::Data<AppState>,
    client: RequestClient,
    ValidJson(body): ValidJson<LoginRequest>,
) -> Result<impl Responder, ApiError> {
    let tokens = log_in(&state, parse(&body)?, &client.0).await?;
    Ok(HttpResponse::Ok().json(LoginResponse { requires2fa: false, tokens: SessionTokens::from(&tokens) }))
}

fn parse(body: &LoginRequest) -> Result<Login, EdgeError> {
    let email = EmailAddress::parse(&body.email)
        .map_err(|_| EdgeError::invalid("email", "email_invalid", "This is not an e-mail address."))?;
    let password = PlainPassword::presented(&body.password).map_err(EdgeError::Password)?;
    let device_name = body.device_name.as_deref().map(DisplayName::parse).transpose().map_err(|_| {
        EdgeError::invalid("deviceName", "device_name_invalid", "Use 1 to 100 printable characters.")
    })?;
    let device_name = device_name.map(|name| name.as_str().to_owned());
    Ok(Login { email, password, device_name, remember_me: body.remember_me })
}
