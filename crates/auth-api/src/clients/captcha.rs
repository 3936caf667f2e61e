//! Cloudflare Turnstile, server side.

use std::{net::IpAddr, time::Duration};

use anyhow::Context as _;
use reqwest::redirect;
use secrecy::{ExposeSecret, SecretString};
use serde::Deserialize;
use url::Url;
use uuid::Uuid;

const ATTEMPT_TIMEOUT: Duration = Duration::from_millis(1500);
/// The longest token that the provider issues.
const MAX_TOKEN_BYTES: usize = 2048;
/// What the provider documents for tests; see `is_test_secret`.
const TEST_SECRETS: &[&str] = &[
    "1x0000000000000000000000000000000AA",
    "2x0000000000000000000000000000000AA",
    "3x0000000000000000000000000000000AA",
];

/// Whether a request must prove that a person sent it, and how that is checked.
#[derive(Clone)]
pub enum Captcha {
    /// Not at all.
    Off,
    /// By Turnstile.
    Turnstile(Turnstile),
}

/// Why a captcha answer does not count.
#[derive(Debug, thiserror::Error)]
pub enum CaptchaError {
    /// There is none.
    #[error("no captcha answer was given")]
    Required,
    /// The provider refused it.
    #[error("the captcha answer was refused: {0}")]
    Invalid(String),
    /// The provider cannot be asked, or refuses us.
    #[error("the captcha provider is not available")]
    Unavailable(#[source] anyhow::Error),
}

impl Captcha {
    /// Checks the answer `token` that `client` gave for `action`.
    pub async fn verify(&self, token: Option<&str>, client: Option<IpAddr>) -> Result<(), CaptchaError> {
        match self {
            Self::Off => Ok(()),
            Self::Turnstile(turnstile) => {
                let token = token.filter(|token| !token.is_empty()).ok_or(CaptchaError::Required)?;
                turnstile.verify(token, client).await
            }
        }
    }
}

/// A client of `siteverify`.
#[derive(Clone)]
pub struct Turnstile {
    http: reqwest::Client,
    verify_url: Url,
    secret: SecretString,
}

#[derive(Debug, Deserialize)]
struct Answer {
    success: bool,
    #[serde(default, rename = "error-codes")]
    error_codes: Vec<String>,
}

impl Turnstile {
    /// A client for the site with `secret`. It follows no redirects.
    pub fn new(verify_url: Url, secret: SecretString) -> anyhow::Result<Self> {
        let http = reqwest::Client::builder()
            .redirect(redirect::Policy::none())
            .timeout(ATTEMPT_TIMEOUT)
            .build()
            .context("the captcha client could not be made")?;
        Ok(Self { http, verify_url, secret })
    }

    /// Whether `secret` is one of those that accept or refuse everything.
    #[must_use]
    pub fn is_test_secret(secret: &str) -> bool {
        TEST_SECRETS.contains(&secret)
    }

    async fn verify(&self, token: &str, client: Option<IpAddr>) -> Result<(), CaptchaError> {
        if token.len() > MAX_TOKEN_BYTES {
            return Err(CaptchaError::Invalid("token too long".to_owned()));
        }
        let attempt = Uuid::new_v4();
        let mut answer = self.ask(token, client, attempt).await;
        // The provider documents that a retry with the same key is safe, and when it helps.
        if answer.as_ref().is_ok_and(|answer| answer.error_codes.iter().any(|code| code == "internal-error"))
        {
            answer = self.ask(token, client, attempt).await;
        }
        let answer = answer.map_err(CaptchaError::Unavailable)?;
        if answer.success {
            return Ok(());
        }
        let codes = answer.error_codes.join(",");
        let is_answer_bad = |code: &String| {
            ["missing-input-response", "invalid-input-response", "timeout-or-duplicate"]
                .contains(&code.as_str())
        };
        if !answer.error_codes.is_empty() && answer.error_codes.iter().all(is_answer_bad) {
            Err(CaptchaError::Invalid(codes))
        } else {
            Err(CaptchaError::Unavailable(anyhow::anyhow!("the provider answered {codes}")))
        }
    }

    async fn ask(&self, token: &str, client: Option<IpAddr>, attempt: Uuid) -> anyhow::Result<Answer> {
        let mut form = vec![
            ("secret", self.secret.expose_secret().to_owned()),
            ("response", token.to_owned()),
            ("idempotency_key", attempt.to_string()),
        ];
        if let Some(ip) = client {
            form.push(("remoteip", ip.to_string()));
        }
        let response = self.http.post(self.verify_url.clone()).form(&form).send().await?;
        Ok(response.json().await?)
    }
}
