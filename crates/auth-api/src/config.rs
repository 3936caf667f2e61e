//! The configuration: parsed once, every mistake reported.

mod captcha;
mod limits;
mod origins;
mod passwords;
mod tokens;

use std::{net::SocketAddr, path::PathBuf};

use access_tokens::TokenScope;
pub use captcha::{CaptchaConfig, CaptchaSettings};
use clap::Args;
use ipnet::IpNet;
pub use limits::{LimitConfig, LimitSettings};
pub use passwords::PasswordSettings;
use sealing::{KeyRing, MailboxPublicKey};
use secrecy::{ExposeSecret, SecretString};
use service_runtime::{CommonConfig, Environment, Problems, ServiceAddress};
pub use tokens::TokenSettings;
use url::Url;

use crate::{
    domain::{bearer_secret::OneTimeToken, email_address::EmailAddress, plain_password::PlainPassword},
    http::{Host, Hosts, Origins},
    password::{HashParameters, KernelChoice, PasswordPolicy},
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
    /// session-service, as https://host:port; the host may resolve to several replicas, or there may be several addresses separated by commas.
    #[arg(long, env = "SESSION_SERVICE_URL")]
    session_service_url: Option<String>,
    /// audit-service, like SESSION_SERVICE_URL.
    #[arg(long, env = "AUDIT_SERVICE_URL")]
    audit_service_url: Option<String>,
    #[command(flatten)]
    tokens: TokenSettings,
    /// The proxies whose X-Forwarded-For is believed, as networks separated by commas; may be empty, and must be set in production.
    #[arg(long, env = "TRUSTED_PROXIES")]
    trusted_proxies: Option<String>,
    /// The hosts under which requests are answered, separated by commas; in production the host of PUBLIC_URL when missing, in development any. Probes may use any.
    #[arg(long, env = "ALLOWED_HOSTS")]
    allowed_hosts: Option<String>,
    /// The origins whose scripts may read answers, separated by commas, exactly as browsers write them; that of FRONTEND_URL when missing.
    #[arg(long, env = "CORS_ORIGINS")]
    cors_origins: Option<String>,
    #[command(flatten)]
    limits: LimitSettings,
    /// The networks that may read /metrics on the public listener.
    #[arg(
        long,
        env = "METRICS_ALLOW",
        default_value = "127.0.0.0/8,10.0.0.0/8,172.16.0.0/12,192.168.0.0/16,::1/128,fc00::/7"
    )]
    metrics_allow: String,
    #[command(flatten)]
    captcha: CaptchaSettings,
    /// The keys that seal password hashes, `name:key` separated by commas, the sealing one first; a key is 32 bytes in unpadded URL-safe base64.
    #[arg(long, env = "PASSWORD_KEYS", hide_env_values = true)]
    password_keys: Option<String>,
    /// A file that holds PASSWORD_KEYS.
    #[arg(long, env = "PASSWORD_KEYS_FILE")]
    password_keys_file: Option<PathBuf>,
    /// The keys that seal what only this service reads again (secrets of authenticator apps, deferred requests, copies of users' data), like PASSWORD_KEYS.
    #[arg(long, env = "DATA_KEYS", hide_env_values = true)]
    data_keys: Option<String>,
    /// A file that holds DATA_KEYS.
    #[arg(long, env = "DATA_KEYS_FILE")]
    data_keys_file: Option<PathBuf>,
    /// Whether anybody may register: `open` or `closed`.
    #[arg(long, env = "REGISTRATION", default_value = "open")]
    registration: String,
    /// The key under which addresses and recovery codes are hashed: 32 bytes in unpadded URL-safe base64.
    #[arg(long, env = "IDENTIFIER_KEY", hide_env_values = true)]
    identifier_key: Option<String>,
    /// A file that holds IDENTIFIER_KEY.
    #[arg(long, env = "IDENTIFIER_KEY_FILE")]
    identifier_key_file: Option<PathBuf>,
    /// The mailer's public key, as `mailer keys generate` prints it.
    #[arg(long, env = "MAILER_PUBLIC_KEY")]
    mailer_public_key: Option<String>,
    #[command(flatten)]
    passwords: PasswordSettings,
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
    pub session_service_url: ServiceAddress,
    /// audit-service.
    pub audit_service_url: ServiceAddress,
    /// Which access tokens are ours.
    pub token_scope: TokenScope,
    /// Whose `X-Forwarded-For` is believed.
    pub trusted_proxies: Vec<IpNet>,
    /// The names under which requests are answered.
    pub allowed_hosts: Hosts,
    /// The web pages that may do more than others.
    pub origins: Origins,
    /// How requests are limited.
    pub limits: LimitConfig,
    /// Who may read `/metrics` on the public listener.
    pub metrics_allow: Vec<IpNet>,
    /// The captcha.
    pub captcha: CaptchaConfig,
    /// Seals password hashes.
    pub password_keys: KeyRing,
    /// Seals what only auth-api reads again.
    pub data_keys: KeyRing,
    /// Whether anybody may register.
    pub registration_open: bool,
    /// Hashes addresses.
    pub identifier_key: IdentifierKey,
    /// Seals mails.
    pub mailer_public_key: MailboxPublicKey,
    /// Which passwords may be chosen.
    pub passwords: PasswordPolicy,
    /// What computes hashes.
    pub password_hash_kernel: KernelChoice,
    /// What a hash costs.
    pub password_hash: HashParameters,
    /// The administrator that `migrate up` creates.
    pub admin: Option<(EmailAddress, PlainPassword)>,
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
        self.one_time_link("verify-email", token)
    }

    /// The link that sets a new password.
    #[must_use]
    pub fn reset_password_link(&self, token: &OneTimeToken) -> String {
        self.one_time_link("reset-password", token)
    }

    /// The link of somebody who was not the one that a notice speaks of.
    #[must_use]
    pub fn secure_account_link(&self, token: &OneTimeToken) -> String {
        self.one_time_link("secure-account", token)
    }

    /// The link that takes back the deletion of an account.
    #[must_use]
    pub fn restore_account_link(&self, token: &OneTimeToken) -> String {
        self.one_time_link("restore-account", token)
    }

    /// The link that makes a new address the account's.
    #[must_use]
    pub fn confirm_email_change_link(&self, token: &OneTimeToken) -> String {
        self.one_time_link("change-email/confirm", token)
    }

    /// The link that takes the old address back.
    #[must_use]
    pub fn undo_email_change_link(&self, token: &OneTimeToken) -> String {
        self.one_time_link("change-email/undo", token)
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

    fn one_time_link(&self, page: &str, token: &OneTimeToken) -> String {
        format!("{}/{page}#token={}", self.frontend, token.expose())
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
        let audit_service_url = problems.required("AUDIT_SERVICE_URL", settings.audit_service_url);
        let audit_service_url = audit_service_url.and_then(|url| problems.parse("AUDIT_SERVICE_URL", &url));
        let token_scope = tokens::parse(settings.tokens, common.environment, problems);
        if is_production && settings.trusted_proxies.is_none() {
            problems
                .add("TRUSTED_PROXIES", "must be set in production: the networks of your proxies, or empty");
        }
        let trusted_proxies =
            networks("TRUSTED_PROXIES", &settings.trusted_proxies.unwrap_or_default(), problems);
        let allowed_hosts = hosts(settings.allowed_hosts, public.as_deref(), is_production, problems);
        let origins = origins::parse(
            settings.cors_origins.as_deref(),
            public.as_deref(),
            frontend.as_deref(),
            is_production,
            problems,
        );
        let limits = limits::parse(settings.limits, (common.environment, common.encryption), problems);
        let metrics_allow = networks("METRICS_ALLOW", &settings.metrics_allow, problems);
        let captcha = CaptchaConfig::parse(settings.captcha, frontend.as_deref(), is_production, problems);
        let password_keys =
            problems.required_secret("PASSWORD_KEYS", settings.password_keys, settings.password_keys_file);
        let password_keys = password_keys
            .and_then(|keys| understood("PASSWORD_KEYS", KeyRing::parse(keys.expose_secret()), problems));
        let data_keys = problems.required_secret("DATA_KEYS", settings.data_keys, settings.data_keys_file);
        let data_keys = data_keys
            .and_then(|keys| understood("DATA_KEYS", KeyRing::parse(keys.expose_secret()), problems));
        let registration_open = match settings.registration.as_str() {
            "open" => Some(true),
            "closed" => Some(false),
            _ => {
                problems.add("REGISTRATION", "must be `open` or `closed`");
                None
            }
        };
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
        let passwords = passwords::parse(settings.passwords, problems);
        // Without the breach filter the other rules can still find their mistakes.
        let policy = passwords.clone().unwrap_or_default();
        let admin = admin(settings.admin_email, admin_password, &policy, problems);

        Some(Self {
            http_listen: http_listen?,
            addresses: PublicAddresses { frontend: frontend?, docs: docs? },
            session_service_url: session_service_url?,
            audit_service_url: audit_service_url?,
            token_scope: token_scope?,
            trusted_proxies: trusted_proxies?,
            allowed_hosts: allowed_hosts?,
            origins: origins?,
            limits: limits?,
            metrics_allow: metrics_allow?,
            captcha: captcha?,
            password_keys: password_keys?,
            data_keys: data_keys?,
            registration_open: registration_open?,
            identifier_key: identifier_key?,
            mailer_public_key: mailer_public_key?,
            passwords: passwords?,
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

/// The listed hosts; without a list, in production, that of the public address.
fn hosts(
    listed: Option<String>,
    public_url: Option<&str>,
    is_production: bool,
    problems: &mut Problems,
) -> Option<Hosts> {
    if let Some(listed) = listed.filter(|listed| !listed.is_empty()) {
        return problems.parse_list::<Host>("ALLOWED_HOSTS", &listed).map(Hosts::from);
    }
    if !is_production {
        return Some(Hosts::default());
    }
    let url: Url = public_url?.parse().ok()?;
    let host = problems.parse::<Host>("PUBLIC_URL", url.host_str()?)?;
    Some(Hosts::from(vec![host]))
}

fn networks(variable: &str, value: &str, problems: &mut Problems) -> Option<Vec<IpNet>> {
    let networks: Vec<IpNet> = problems.parse_list(variable, value)?;
    if networks.iter().any(|network| network.prefix_len() == 0) {
        problems.add(variable, "contains the whole internet");
        return None;
    }
    Some(networks)
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
    policy: &PasswordPolicy,
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
    let password = policy.choose(password.expose_secret(), &email, None);
    Some((email, understood("ADMIN_PASSWORD", password, problems)?))
}
