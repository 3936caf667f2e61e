//! The configuration: parsed once, every mistake reported.

use std::{net::SocketAddr, path::PathBuf};

use clap::Args;
use ipnet::IpNet;
use sealing::{KeyRing, MailboxPublicKey};
use secrecy::{ExposeSecret, SecretString};
use service_runtime::{CommonConfig, Environment, Problems};
use url::Url;

use crate::{
    clients::captcha::Turnstile,
    domain::{bearer_secret::OneTimeToken, email_address::EmailAddress, plain_password::PlainPassword},
    password::{HashParameters, KernelChoice},
    state::IdentifierKey,
};

/// The flags and variables of auth-api.
#[expect(clippy::doc_markdown, reason = "the text of --help")]
#[derive(Args, Clone)]
pub struct Settings {
    /// Where the public interface listens.
    #[arg(long, env = "HTTP_LISTEN", default_value = "0.0.0.0:8000")]
    http_listen: String,
    /// The public address of this interface.
    #[arg(long, env = "PUBLIC_URL")]
    public_url: Option<String>,
    /// The public address of the web frontend; links in mails lead there.
    #[arg(long, env = "FRONTEND_URL")]
    frontend_url: Option<String>,
    /// The base address of the documentation of problems; PUBLIC_URL when missing.
    #[arg(long, env = "DOCS_URL")]
    docs_url: Option<String>,
    /// session-service, as https://host:port.
    #[arg(long, env = "SESSION_SERVICE_URL")]
    session_service_url: Option<String>,
    /// The proxies whose X-Forwarded-For is believed, as networks separated by commas; may be empty, and must be set in production.
    #[arg(long, env = "TRUSTED_PROXIES")]
    trusted_proxies: Option<String>,
    /// The networks that may read /metrics on the public listener.
    #[arg(
        long,
        env = "METRICS_ALLOW",
        default_value = "127.0.0.0/8,10.0.0.0/8,172.16.0.0/12,192.168.0.0/16,::1/128,fc00::/7"
    )]
    metrics_allow: String,
    /// How requests prove that a person sent them: `turnstile` or `off`.
    #[arg(long, env = "CAPTCHA", default_value = "turnstile")]
    captcha: String,
    /// Whether `CAPTCHA=off` is meant in production.
    #[arg(long, env = "CAPTCHA_OFF_IN_PRODUCTION", default_value = "false")]
    captcha_off_in_production: String,
    /// The secret key of the Turnstile site.
    #[arg(long, env = "TURNSTILE_SECRET", hide_env_values = true)]
    turnstile_secret: Option<String>,
    /// A file that holds TURNSTILE_SECRET.
    #[arg(long, env = "TURNSTILE_SECRET_FILE")]
    turnstile_secret_file: Option<PathBuf>,
    /// The public key of the Turnstile site.
    #[arg(long, env = "TURNSTILE_SITE_KEY")]
    turnstile_site_key: Option<String>,
    /// Where Turnstile answers are checked.
    #[arg(
        long,
        env = "TURNSTILE_VERIFY_URL",
        default_value = "https://challenges.cloudflare.com/turnstile/v0/siteverify"
    )]
    turnstile_verify_url: String,
    /// The keys that seal password hashes, `name:key` separated by commas, the sealing one first; a key is 32 bytes in unpadded URL-safe base64.
    #[arg(long, env = "PASSWORD_KEYS", hide_env_values = true)]
    password_keys: Option<String>,
    /// A file that holds PASSWORD_KEYS.
    #[arg(long, env = "PASSWORD_KEYS_FILE")]
    password_keys_file: Option<PathBuf>,
    /// The key under which addresses are hashed for the audit log: 32 bytes in unpadded URL-safe base64.
    #[arg(long, env = "IDENTIFIER_KEY", hide_env_values = true)]
    identifier_key: Option<String>,
    /// A file that holds IDENTIFIER_KEY.
    #[arg(long, env = "IDENTIFIER_KEY_FILE")]
    identifier_key_file: Option<PathBuf>,
    /// The mailer's public key, as `mailer keys generate` prints it.
    #[arg(long, env = "MAILER_PUBLIC_KEY")]
    mailer_public_key: Option<String>,
    /// What computes Argon2id: `auto` (the fast kernel, if it agrees with the reference) or `reference`.
    #[arg(long, env = "PASSWORD_HASH_KERNEL", default_value = "auto")]
    password_hash_kernel: String,
    /// Memory of one hash in KiB, at least 19456.
    #[arg(long, env = "PASSWORD_HASH_MEMORY_KIB", default_value = "19456")]
    password_hash_memory_kib: String,
    /// Passes of one hash, at least 2.
    #[arg(long, env = "PASSWORD_HASH_PASSES", default_value = "2")]
    password_hash_passes: String,
    /// The first administrator's address; `migrate up` creates the account if there is none.
    #[arg(long, env = "ADMIN_EMAIL")]
    admin_email: Option<String>,
    /// The first administrator's password.
    #[arg(long, env = "ADMIN_PASSWORD", hide_env_values = true)]
    admin_password: Option<String>,
    /// A file that holds ADMIN_PASSWORD.
    #[arg(long, env = "ADMIN_PASSWORD_FILE")]
    admin_password_file: Option<PathBuf>,
}

/// What auth-api runs with.
#[derive(Clone)]
pub struct Config {
    /// Where the public interface listens.
    pub http_listen: SocketAddr,
    /// Where frontend, interface and documentation are.
    pub addresses: PublicAddresses,
    /// session-service.
    pub session_service_url: Url,
    /// Whose `X-Forwarded-For` is believed.
    pub trusted_proxies: Vec<IpNet>,
    /// Who may read `/metrics` on the public listener.
    pub metrics_allow: Vec<IpNet>,
    /// The captcha.
    pub captcha: CaptchaConfig,
    /// Seals password hashes.
    pub password_keys: KeyRing,
    /// Hashes addresses.
    pub identifier_key: IdentifierKey,
    /// Seals mails.
    pub mailer_public_key: MailboxPublicKey,
    /// What computes hashes.
    pub password_hash_kernel: KernelChoice,
    /// What a hash costs.
    pub password_hash: HashParameters,
    /// The administrator that `migrate up` creates.
    pub admin: Option<(EmailAddress, PlainPassword)>,
}

/// The captcha, as configured.
#[derive(Clone)]
pub enum CaptchaConfig {
    /// None.
    Off,
    /// Turnstile.
    Turnstile {
        /// Where answers are checked.
        verify_url: Url,
        /// The site's secret key.
        secret: SecretString,
        /// The site's public key.
        site_key: String,
    },
}

/// Where frontend, interface and documentation are for people outside.
#[derive(Debug, Clone)]
pub struct PublicAddresses {
    /// The frontend, without a trailing slash.
    pub frontend: String,
    /// The documentation of problems, without a trailing slash.
    pub docs: String,
}

impl PublicAddresses {
    /// The page that proves an address.
    #[must_use]
    pub fn verify_email_page(&self) -> String {
        format!("{}/verify-email", self.frontend)
    }

    /// The link that proves an address. The token is in the fragment, which browsers send to nobody.
    #[must_use]
    pub fn verify_email_link(&self, token: &OneTimeToken) -> String {
        format!("{}#token={}", self.verify_email_page(), token.expose())
    }

    /// Where to log in.
    #[must_use]
    pub fn login_link(&self) -> String {
        format!("{}/login", self.frontend)
    }

    /// Where to ask for a new password.
    #[must_use]
    pub fn forgot_password_link(&self) -> String {
        format!("{}/forgot-password", self.frontend)
    }
}

impl Config {
    /// Parses the settings; `None` when `problems` got an entry.
    pub fn parse(settings: Settings, common: &CommonConfig, problems: &mut Problems) -> Option<Self> {
        let is_production = common.environment == Environment::Production;
        let http_listen = problems.parse("HTTP_LISTEN", &settings.http_listen);
        let public = public_url("PUBLIC_URL", settings.public_url, is_production, problems);
        let frontend = public_url("FRONTEND_URL", settings.frontend_url, is_production, problems);
        let docs = match settings.docs_url {
            Some(url) => public_url("DOCS_URL", Some(url), is_production, problems),
            None => public.clone(),
        };
        let session_service_url = problems.required("SESSION_SERVICE_URL", settings.session_service_url);
        let session_service_url =
            session_service_url.and_then(|url| problems.parse("SESSION_SERVICE_URL", &url));
        if is_production && settings.trusted_proxies.is_none() {
            problems
                .add("TRUSTED_PROXIES", "must be set in production: the networks of your proxies, or empty");
        }
        let trusted_proxies =
            networks("TRUSTED_PROXIES", &settings.trusted_proxies.unwrap_or_default(), problems);
        let metrics_allow = networks("METRICS_ALLOW", &settings.metrics_allow, problems);
        let turnstile_secret = problems.optional_secret(
            "TURNSTILE_SECRET",
            settings.turnstile_secret,
            settings.turnstile_secret_file,
        );
        let captcha = match settings.captcha.as_str() {
            "off" => captcha_off(&settings.captcha_off_in_production, is_production, problems),
            "turnstile" => turnstile(
                turnstile_secret,
                settings.turnstile_site_key,
                &settings.turnstile_verify_url,
                is_production,
                problems,
            ),
            _ => {
                problems.add("CAPTCHA", "must be `turnstile` or `off`");
                None
            }
        };
        let password_keys =
            problems.required_secret("PASSWORD_KEYS", settings.password_keys, settings.password_keys_file);
        let password_keys = password_keys
            .and_then(|keys| understood("PASSWORD_KEYS", KeyRing::parse(keys.expose_secret()), problems));
        let identifier_key =
            problems.required_secret("IDENTIFIER_KEY", settings.identifier_key, settings.identifier_key_file);
        let identifier_key = identifier_key.and_then(|key| identifier_key_of(&key, problems));
        let mailer_public_key = problems.required("MAILER_PUBLIC_KEY", settings.mailer_public_key);
        let mailer_public_key = mailer_public_key
            .and_then(|key| understood("MAILER_PUBLIC_KEY", MailboxPublicKey::parse(&key), problems));
        let password_hash_kernel = problems.parse("PASSWORD_HASH_KERNEL", &settings.password_hash_kernel);
        let password_hash =
            hash_parameters(&settings.password_hash_memory_kib, &settings.password_hash_passes, problems);
        let admin_password =
            problems.optional_secret("ADMIN_PASSWORD", settings.admin_password, settings.admin_password_file);
        let admin = admin(settings.admin_email, admin_password, problems);

        Some(Self {
            http_listen: http_listen?,
            addresses: PublicAddresses { frontend: frontend?, docs: docs? },
            session_service_url: session_service_url?,
            trusted_proxies: trusted_proxies?,
            metrics_allow: metrics_allow?,
            captcha: captcha?,
            password_keys: password_keys?,
            identifier_key: identifier_key?,
            mailer_public_key: mailer_public_key?,
            password_hash_kernel: password_hash_kernel?,
            password_hash: password_hash?,
            admin,
        })
    }
}

/// A value, or the mistake that prevents it.
fn understood<T, E: std::fmt::Display>(
    variable: &str,
    value: Result<T, E>,
    problems: &mut Problems,
) -> Option<T> {
    value.map_err(|error| problems.add(variable, error)).ok()
}

/// An address that people see, without a trailing slash.
fn public_url(
    variable: &str,
    value: Option<String>,
    is_production: bool,
    problems: &mut Problems,
) -> Option<String> {
    let value = problems.required(variable, value)?;
    let url: Url = problems.parse(variable, &value)?;
    if is_production && url.scheme() != "https" {
        problems.add(variable, "must begin with https:// in production");
        return None;
    }
    Some(url.as_str().trim_end_matches('/').to_owned())
}

fn networks(variable: &str, value: &str, problems: &mut Problems) -> Option<Vec<IpNet>> {
    let networks: Vec<IpNet> = problems.parse_list(variable, value)?;
    if networks.iter().any(|network| network.prefix_len() == 0) {
        problems.add(variable, "contains the whole internet");
        return None;
    }
    Some(networks)
}

fn captcha_off(meant: &str, is_production: bool, problems: &mut Problems) -> Option<CaptchaConfig> {
    let meant = problems.parse_bool("CAPTCHA_OFF_IN_PRODUCTION", meant)?;
    if is_production && !meant {
        problems.add("CAPTCHA", "is off; if that is meant in production, set CAPTCHA_OFF_IN_PRODUCTION=true");
        return None;
    }
    Some(CaptchaConfig::Off)
}

fn turnstile(
    secret: Option<SecretString>,
    site_key: Option<String>,
    verify_url: &str,
    is_production: bool,
    problems: &mut Problems,
) -> Option<CaptchaConfig> {
    let secret = problems.required("TURNSTILE_SECRET", secret);
    let site_key = problems.required("TURNSTILE_SITE_KEY", site_key);
    let verify_url: Option<Url> = problems.parse("TURNSTILE_VERIFY_URL", verify_url);
    let (secret, site_key, verify_url) = (secret?, site_key?, verify_url?);
    if is_production && Turnstile::is_test_secret(secret.expose_secret()) {
        problems.add("TURNSTILE_SECRET", "is one of the test secrets, which accept or refuse everything");
        return None;
    }
    if is_production && verify_url.scheme() != "https" {
        problems.add("TURNSTILE_VERIFY_URL", "must begin with https:// in production");
        return None;
    }
    Some(CaptchaConfig::Turnstile { verify_url, secret, site_key })
}

fn identifier_key_of(text: &SecretString, problems: &mut Problems) -> Option<IdentifierKey> {
    use base64::prelude::*;
    let bytes = BASE64_URL_SAFE_NO_PAD.decode(text.expose_secret()).map(zeroize::Zeroizing::new);
    let key = bytes.ok().and_then(|bytes| IdentifierKey::new(&bytes));
    if key.is_none() {
        problems.add("IDENTIFIER_KEY", "is not 32 bytes in unpadded URL-safe base64");
    }
    key
}

fn hash_parameters(memory_kib: &str, passes: &str, problems: &mut Problems) -> Option<HashParameters> {
    let memory_kib = problems.parse("PASSWORD_HASH_MEMORY_KIB", memory_kib);
    let passes = problems.parse("PASSWORD_HASH_PASSES", passes);
    let parameters = HashParameters { memory_kib: memory_kib?, passes: passes?, ..HashParameters::FLOOR };
    if !parameters.is_acceptable() {
        problems
            .add("PASSWORD_HASH_MEMORY_KIB", "and PASSWORD_HASH_PASSES must be 19456 to 262144 and 2 to 10");
        return None;
    }
    Some(parameters)
}

fn admin(
    email: Option<String>,
    password: Option<SecretString>,
    problems: &mut Problems,
) -> Option<(EmailAddress, PlainPassword)> {
    let (email, password) = match (email, password) {
        (None, None) => return None,
        (Some(email), Some(password)) => (email, password),
        (Some(_), None) => {
            problems.add("ADMIN_PASSWORD", "is required with ADMIN_EMAIL (or ADMIN_PASSWORD_FILE)");
            return None;
        }
        (None, Some(_)) => {
            problems.add("ADMIN_EMAIL", "is required with ADMIN_PASSWORD");
            return None;
        }
    };
    let email = understood("ADMIN_EMAIL", EmailAddress::parse(&email), problems)?;
    let password = PlainPassword::chosen(password.expose_secret(), &email, None);
    Some((email, understood("ADMIN_PASSWORD", password, problems)?))
}
