//! `GET /v1/auth/config`

use actix_web::{HttpResponse, Responder, get, web};
use serde::Serialize;
use utoipa::ToSchema;

use crate::domain::plain_password::{MAX_CODE_POINTS, MIN_CODE_POINTS};

/// What a frontend needs to know before anybody has logged in.
#[derive(Clone, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct FrontendConfig {
    captcha: CaptchaConfig,
    password_policy: PasswordPolicy,
    features: Features,
}

/// The captcha widget to show.
#[derive(Clone, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct CaptchaConfig {
    /// `turnstile` or `off`.
    #[schema(example = "turnstile")]
    provider: &'static str,
    /// The widget's public key.
    #[schema(example = "1x00000000000000000000AA")]
    site_key: Option<String>,
}

/// What a password must be like.
#[derive(Clone, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct PasswordPolicy {
    /// The fewest characters (Unicode code points after NFKC).
    #[schema(example = 15)]
    min_length: usize,
    /// The most characters.
    #[schema(example = 256)]
    max_length: usize,
}

/// What is switched on.
#[derive(Clone, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct Features {
    /// Whether anybody may register.
    registration: bool,
}

impl FrontendConfig {
    /// The configuration with the captcha of `site_key`, or none, and whether anybody may register.
    #[must_use]
    pub fn new(site_key: Option<String>, registration: bool) -> Self {
        let provider = if site_key.is_some() { "turnstile" } else { "off" };
        Self {
            captcha: CaptchaConfig { provider, site_key },
            password_policy: PasswordPolicy { min_length: MIN_CODE_POINTS, max_length: MAX_CODE_POINTS },
            features: Features { registration },
        }
    }
}

/// What a frontend needs to know.
#[utoipa::path(tag = "accounts", responses((status = 200, body = FrontendConfig)))]
#[get("/v1/auth/config")]
pub async fn config(config: web::Data<FrontendConfig>) -> impl Responder {
    HttpResponse::Ok().json(config.as_ref())
}
