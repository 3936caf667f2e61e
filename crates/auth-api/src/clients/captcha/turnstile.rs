//! Cloudflare Turnstile, server side.

use std::{
    net::IpAddr,
    sync::Arc,
    time::{Duration, Instant},
};

use anyhow::{Context as _, ensure};
use parking_lot::Mutex;
use prometheus::{IntGauge, Registry};
use reqwest::redirect;
use secrecy::{ExposeSecret, SecretString};
use url::Url;
use uuid::Uuid;

use super::{
    CaptchaAction, CaptchaError, OnUnavailable,
    answer::{Answer, Purpose, Verdict},
    breaker::Breaker,
};

const ATTEMPT_TIMEOUT: Duration = Duration::from_millis(1500);
/// Both attempts together: a request has three seconds, and after the captcha there is work to do.
const TOTAL_TIMEOUT: Duration = Duration::from_millis(2500);
/// The same for a login, whose password is still to be hashed.
const LOGIN_TIMEOUT: Duration = Duration::from_millis(1500);
/// How often it is looked whether the provider is there, at most, because somebody has no token.
const LOOK_PERIOD: Duration = Duration::from_secs(1);
/// Stands for a token. A provider that is there refuses it.
const PLACEHOLDER: &str = "none";
/// A real answer has a few hundred bytes.
const MAX_ANSWER_BYTES: usize = 16 * 1024;

/// How to use Turnstile.
#[derive(Clone)]
pub struct TurnstileSettings {
    /// Where answers are checked.
    pub verify_url: Url,
    /// The site's secret key.
    pub secret: SecretString,
    /// The sites that may show our widget.
    pub hostnames: Vec<String>,
    /// What happens while Turnstile is away.
    pub on_unavailable: OnUnavailable,
}

/// A client of `siteverify`; clones share connections and breaker.
#[derive(Clone)]
pub struct Turnstile {
    http: reqwest::Client,
    settings: TurnstileSettings,
    breaker: Arc<Breaker>,
    looked: Arc<Mutex<Option<Instant>>>,
}

/// Whether `key`, secret or public, is one of those that Turnstile documents for tests: they accept or refuse everything. They look like
/// `1x000…AA`; the number of zeros has changed before.
#[must_use]
pub fn is_test_key(key: &str) -> bool {
    let rest = key.trim().strip_prefix(['1', '2', '3']).and_then(|rest| rest.strip_prefix(['x', 'X']));
    rest.is_some_and(|rest| rest.starts_with('0') && rest.trim_start_matches('0').len() <= 2)
}

impl Turnstile {
    /// A client for the site of `settings`. It follows no redirects.
    pub fn new(settings: TurnstileSettings, registry: &Registry) -> anyhow::Result<Self> {
        let up = IntGauge::new("captcha_provider_up", "Whether the captcha provider is being asked.")?;
        registry.register(Box::new(up.clone()))?;
        let http = reqwest::Client::builder()
            .redirect(redirect::Policy::none())
            .https_only(settings.verify_url.scheme() == "https")
            .timeout(ATTEMPT_TIMEOUT)
            .build()
            .context("the captcha client could not be made")?;
        Ok(Self { http, settings, breaker: Arc::new(Breaker::new(up)), looked: Arc::default() })
    }

    pub(super) fn on_unavailable(&self) -> OnUnavailable {
        self.settings.on_unavailable
    }

    /// Why somebody without a token cannot go on.
    pub(super) fn without_token(&self, action: CaptchaAction) -> CaptchaError {
        let is_away = self.breaker.is_open();
        if is_away || action == CaptchaAction::Login {
            self.look();
        }
        if is_away {
            CaptchaError::Unavailable(anyhow::anyhow!("it failed too often to expect a token of it"))
        } else {
            CaptchaError::Required
        }
    }

    /// Looks in the background whether the provider is there, if nobody has lately. While no page can show its widget there is no token to ask about,
    /// and nothing else would tell.
    #[expect(clippy::disallowed_methods, reason = "a look is over within two seconds, and nobody misses one")]
    fn look(&self) {
        let now = Instant::now();
        let mut looked = self.looked.lock();
        if looked.is_some_and(|looked| now < looked + LOOK_PERIOD) {
            return;
        }
        *looked = Some(now);
        let this = self.clone();
        tokio::spawn(async move {
            if let Err(CaptchaError::Unavailable(error)) =
                this.verify(PLACEHOLDER, CaptchaAction::Login, None).await
            {
                tracing::debug!("The captcha provider seems to be away: {error:#}");
            }
        });
    }

    pub(super) async fn verify(
        &self,
        token: &str,
        action: CaptchaAction,
        client: Option<IpAddr>,
    ) -> Result<(), CaptchaError> {
        let unavailable = |why: String| Err(CaptchaError::Unavailable(anyhow::Error::msg(why)));
        let Some(call) = self.breaker.admit(Instant::now()) else {
            return unavailable("it failed too often and is not asked for a while".to_owned());
        };
        let answer = match self.ask_twice(token, action, client).await {
            Ok(answer) => answer,
            Err(error) => {
                call.failed(Instant::now());
                return Err(CaptchaError::Unavailable(error));
            }
        };
        let purpose = Purpose { hostnames: &self.settings.hostnames, action };
        match answer.verdict(self.knows_purposes().then_some(&purpose)) {
            Verdict::Passed => {
                call.succeeded();
                Ok(())
            }
            Verdict::Refused(why) => {
                call.succeeded();
                Err(CaptchaError::Invalid(why.to_owned()))
            }
            Verdict::SecretRefused => {
                call.failed(Instant::now());
                let codes = answer.codes();
                tracing::error!(
                    "The captcha provider refuses TURNSTILE_SECRET ({codes}): nobody can register"
                );
                unavailable(format!("the provider refuses our secret: {codes}"))
            }
            Verdict::Undecided if answer.is_internal_error() => {
                call.failed(Instant::now());
                unavailable(format!("the provider answered {}", answer.codes()))
            }
            Verdict::Undecided => {
                // A token could provoke this. So it does not open the breaker, and does not pass at a login, which goes on while the provider is away.
                call.succeeded();
                let codes = answer.codes();
                match action {
                    CaptchaAction::Login => {
                        tracing::warn!("The captcha provider could not judge the token of a login: {codes}");
                        Err(CaptchaError::Invalid("undecided".to_owned()))
                    }
                    _ => unavailable(format!("the provider answered {codes}")),
                }
            }
        }
    }

    /// The test secrets answer with a hostname and an action of their own, so there is nothing to compare. Production refuses these secrets.
    fn knows_purposes(&self) -> bool {
        !is_test_key(self.settings.secret.expose_secret())
    }

    /// The provider documents that a repetition with the same key gets the first one's answer, although tokens count only once.
    async fn ask_twice(
        &self,
        token: &str,
        action: CaptchaAction,
        client: Option<IpAddr>,
    ) -> anyhow::Result<Answer> {
        let key = Uuid::new_v4();
        let attempts = async {
            match self.ask(token, client, key).await {
                Ok(answer) if !answer.is_internal_error() => Ok(answer),
                first => {
                    tracing::debug!("The captcha provider is asked again after {:?}", first.err());
                    self.ask(token, client, key).await
                }
            }
        };
        let timeout = match action {
            CaptchaAction::Login => LOGIN_TIMEOUT,
            CaptchaAction::Register | CaptchaAction::Forgot | CaptchaAction::Resend => TOTAL_TIMEOUT,
        };
        tokio::time::timeout(timeout, attempts).await.context("the provider took too long")?
    }

    async fn ask(&self, token: &str, client: Option<IpAddr>, key: Uuid) -> anyhow::Result<Answer> {
        let mut form = vec![
            ("secret", self.settings.secret.expose_secret().to_owned()),
            ("response", token.to_owned()),
            ("idempotency_key", key.to_string()),
        ];
        if let Some(ip) = client {
            form.push(("remoteip", ip.to_string()));
        }
        let mut response = self.http.post(self.settings.verify_url.clone()).form(&form).send().await?;
        // Refusals may come with a status of 400.
        let status = response.status();
        ensure!(status.is_success() || status.is_client_error(), "the provider answered {status}");
        let mut body = Vec::new();
        while let Some(chunk) = response.chunk().await? {
            ensure!(body.len() + chunk.len() <= MAX_ANSWER_BYTES, "the provider's answer is too long");
            body.extend_from_slice(&chunk);
        }
        serde_json::from_slice(&body).with_context(|| format!("the provider's {status} is no answer"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn test_keys_are_known_whatever_their_length() {
        for key in [
            "1x0000000000000000000000000000000AA",
            "2x0000000000000000000000000000000AA",
            "3x0000000000000000000000000000000AA",
            " 1x0000000000000000000000000000000AA ",
            "1x00000000000000000000AA",
            "2x00000000000000000000AB",
            "1x00000000000000000000BB",
            "3x00000000000000000000FF",
        ] {
            assert!(is_test_key(key), "{key}");
        }
        for key in ["0x4AAAAAAADnPIDROrmt1Wwj", "1xAAAAAA", "", "1x", "1x0000001234"] {
            assert!(!is_test_key(key), "{key}");
        }
    }
}
