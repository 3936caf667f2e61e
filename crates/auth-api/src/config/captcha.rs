//! The captcha: which, with which keys, and where.

use std::path::PathBuf;

use clap::Args;
use secrecy::{ExposeSecret, SecretString};
use service_runtime::Problems;
use url::{Host, Url};

use crate::clients::captcha::{TurnstileSettings, is_test_key};

/// The captcha's flags and variables.
#[expect(clippy::doc_markdown, reason = "the text of --help")]
#[derive(Args, Clone)]
pub struct CaptchaSettings {
    /// How requests prove that a person sent them: `turnstile` or `off`.
    #[arg(long, env = "CAPTCHA", default_value = "turnstile")]
    captcha: String,
    /// Whether `CAPTCHA=off` is meant in production.
    #[arg(long, env = "CAPTCHA_OFF_IN_PRODUCTION", default_value = "false")]
    captcha_off_in_production: String,
    /// What happens while the captcha's provider is away: `refuse` registrations and forgotten passwords, or `degraded`, let them go on with stricter limits.
    #[arg(long, env = "CAPTCHA_UNAVAILABLE", default_value = "refuse")]
    captcha_unavailable: String,
    /// The secret key of the Turnstile site.
    #[arg(long, env = "TURNSTILE_SECRET", hide_env_values = true)]
    turnstile_secret: Option<String>,
    /// A file that holds TURNSTILE_SECRET.
    #[arg(long, env = "TURNSTILE_SECRET_FILE")]
    turnstile_secret_file: Option<PathBuf>,
    /// The public key of the Turnstile site.
    #[arg(long, env = "TURNSTILE_SITE_KEY")]
    turnstile_site_key: Option<String>,
    /// The hosts whose pages show the widget, separated by commas; the host of FRONTEND_URL when missing.
    #[arg(long, env = "TURNSTILE_HOSTNAMES")]
    turnstile_hostnames: Option<String>,
    /// Where Turnstile answers are checked.
    #[arg(
        long,
        env = "TURNSTILE_VERIFY_URL",
        default_value = "https://challenges.cloudflare.com/turnstile/v0/siteverify"
    )]
    turnstile_verify_url: String,
    /// The one host that TURNSTILE_VERIFY_URL may name in production.
    #[arg(long, env = "TURNSTILE_VERIFY_HOST", default_value = "challenges.cloudflare.com")]
    turnstile_verify_host: String,
}

/// The captcha, as configured.
#[derive(Clone)]
pub enum CaptchaConfig {
    /// None.
    Off,
    /// Turnstile.
    Turnstile {
        /// How answers are checked.
        settings: TurnstileSettings,
        /// The site's public key.
        site_key: String,
    },
}

impl CaptchaConfig {
    /// Parses the settings of a service whose pages are at `frontend`; `None` when `problems` got an entry.
    pub fn parse(
        settings: CaptchaSettings,
        frontend: Option<&str>,
        is_production: bool,
        problems: &mut Problems,
    ) -> Option<Self> {
        match settings.captcha.as_str() {
            "off" => off(&settings.captcha_off_in_production, is_production, problems),
            "turnstile" => turnstile(settings, frontend, is_production, problems),
            _ => {
                problems.add("CAPTCHA", "must be `turnstile` or `off`");
                None
            }
        }
    }
}

fn off(meant: &str, is_production: bool, problems: &mut Problems) -> Option<CaptchaConfig> {
    let meant = problems.parse_bool("CAPTCHA_OFF_IN_PRODUCTION", meant)?;
    if is_production && !meant {
        problems.add("CAPTCHA", "is off; if that is meant in production, set CAPTCHA_OFF_IN_PRODUCTION=true");
        return None;
    }
    Some(CaptchaConfig::Off)
}

fn turnstile(
    settings: CaptchaSettings,
    frontend: Option<&str>,
    is_production: bool,
    problems: &mut Problems,
) -> Option<CaptchaConfig> {
    let secret = problems.required_secret(
        "TURNSTILE_SECRET",
        settings.turnstile_secret,
        settings.turnstile_secret_file,
    );
    let secret = secret.and_then(|secret| real_secret(secret, is_production, problems));
    let site_key = problems.required("TURNSTILE_SITE_KEY", settings.turnstile_site_key);
    let site_key = site_key.and_then(|key| real_site_key(key, is_production, problems));
    let allowed_host = is_production.then_some(settings.turnstile_verify_host.as_str());
    let verify_url = verify_url(&settings.turnstile_verify_url, allowed_host, problems);
    let hostnames = hostnames(settings.turnstile_hostnames.as_deref(), frontend, problems);
    let on_unavailable = problems.parse("CAPTCHA_UNAVAILABLE", &settings.captcha_unavailable);
    let settings = TurnstileSettings {
        verify_url: verify_url?,
        secret: secret?,
        hostnames: hostnames?,
        on_unavailable: on_unavailable?,
    };
    Some(CaptchaConfig::Turnstile { settings, site_key: site_key? })
}

fn real_secret(secret: SecretString, is_production: bool, problems: &mut Problems) -> Option<SecretString> {
    if is_production && is_test_key(secret.expose_secret()) {
        problems.add("TURNSTILE_SECRET", "is one of the test secrets, which accept or refuse everything");
        return None;
    }
    Some(secret)
}

fn real_site_key(key: String, is_production: bool, problems: &mut Problems) -> Option<String> {
    if is_production && is_test_key(&key) {
        problems.add("TURNSTILE_SITE_KEY", "is one of the test keys, whose tokens no real secret accepts");
        return None;
    }
    Some(key)
}

/// Where answers are checked: the secret goes there, so production accepts `allowed_host` only.
fn verify_url(text: &str, allowed_host: Option<&str>, problems: &mut Problems) -> Option<Url> {
    let url: Url = problems.parse("TURNSTILE_VERIFY_URL", text)?;
    let Some(allowed_host) = allowed_host else { return Some(url) };
    if url.scheme() != "https" {
        problems.add("TURNSTILE_VERIFY_URL", "must begin with https:// in production");
        return None;
    }
    if !url.host_str().is_some_and(|host| host.eq_ignore_ascii_case(allowed_host.trim())) {
        problems.add("TURNSTILE_VERIFY_URL", "is on another host than TURNSTILE_VERIFY_HOST");
        return None;
    }
    Some(url)
}

fn hostnames(list: Option<&str>, frontend: Option<&str>, problems: &mut Problems) -> Option<Vec<String>> {
    let Some(list) = list else {
        // Without a frontend there is a problem already.
        let frontend = Url::parse(frontend?).ok()?;
        return Some(vec![frontend.host_str()?.to_owned()]);
    };
    let items = list.split(',').map(str::trim).filter(|item| !item.is_empty());
    let hosts: Result<Vec<String>, _> =
        items.map(|item| Host::parse(item).map(|host| host.to_string())).collect();
    match hosts {
        Ok(hosts) if !hosts.is_empty() => Some(hosts),
        Ok(_) => {
            problems.add("TURNSTILE_HOSTNAMES", "names no host");
            None
        }
        Err(_) => {
            problems.add("TURNSTILE_HOSTNAMES", "must be hosts only, without https:// and port");
            None
        }
    }
}
