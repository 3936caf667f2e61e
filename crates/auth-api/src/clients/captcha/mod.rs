//! Proof that a person sent a request.

mod answer;
mod breaker;
mod turnstile;

use std::{net::IpAddr, str::FromStr};

pub use turnstile::{Turnstile, TurnstileSettings, is_test_key};

/// The longest token that the provider issues.
const MAX_TOKEN_BYTES: usize = 2048;

/// Whether a request must prove that a person sent it, and how that is checked.
#[derive(Clone)]
pub enum Captcha {
    /// Not at all.
    Off,
    /// By Turnstile.
    Turnstile(Turnstile),
}

/// What somebody wants to do. A captcha that was solved for one action is no proof for another.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum CaptchaAction {
    /// Open an account.
    Register,
    /// Log in.
    Login,
    /// Ask for a new password.
    Forgot,
    /// Ask for the verification mail again.
    Resend,
}

impl CaptchaAction {
    /// The `action` that the widget on the page must be given.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Register => "register",
            Self::Login => "login",
            Self::Forgot => "forgot",
            Self::Resend => "resend",
        }
    }
}

/// What happens to requests that need a captcha while the provider is away.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum OnUnavailable {
    /// They are refused.
    #[default]
    Refuse,
    /// They go on, with stricter limits.
    Degrade,
}

impl FromStr for OnUnavailable {
    type Err = &'static str;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        match text {
            "refuse" => Ok(Self::Refuse),
            "degraded" => Ok(Self::Degrade),
            _ => Err("it is neither `refuse` nor `degraded`"),
        }
    }
}

/// Why a captcha answer does not count.
#[derive(Debug, thiserror::Error)]
pub enum CaptchaError {
    /// There is none, and as far as is known the provider is there to give one.
    #[error("no captcha answer was given")]
    Required,
    /// The provider refused it, or it was given for something else.
    #[error("the captcha answer was refused: {0}")]
    Invalid(String),
    /// The provider cannot be asked, or refuses us.
    #[error("the captcha provider is not available")]
    Unavailable(#[source] anyhow::Error),
}

impl Captcha {
    /// Checks the answer `token` that `client` gave for `action`. It takes at most two and a half seconds, for a login one and a half,
    /// whatever the provider does.
    pub async fn verify(
        &self,
        token: Option<&str>,
        action: CaptchaAction,
        client: Option<IpAddr>,
    ) -> Result<(), CaptchaError> {
        let Self::Turnstile(turnstile) = self else { return Ok(()) };
        let Some(token) = token.filter(|token| !token.trim().is_empty()) else {
            return Err(turnstile.without_token(action));
        };
        if token.len() > MAX_TOKEN_BYTES {
            return Err(CaptchaError::Invalid("token-too-long".to_owned()));
        }
        if !token.bytes().all(|byte| byte.is_ascii_graphic()) {
            return Err(CaptchaError::Invalid("token-malformed".to_owned()));
        }
        turnstile.verify(token, action, client).await
    }

    /// Whether anything is checked.
    #[must_use]
    pub fn is_on(&self) -> bool {
        matches!(self, Self::Turnstile(_))
    }

    /// What the operator wants while the provider is away.
    #[must_use]
    pub fn on_unavailable(&self) -> OnUnavailable {
        match self {
            Self::Off => OnUnavailable::default(),
            Self::Turnstile(turnstile) => turnstile.on_unavailable(),
        }
    }
}
