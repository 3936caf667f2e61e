//! How requests are limited, and where they are counted.

use std::{num::NonZeroU32, path::PathBuf};

use clap::Args;
use secrecy::{ExposeSecret, SecretString};
use service_runtime::{Encryption, Environment, Problems};
use url::Url;

/// The flags and variables of limits.
#[expect(clippy::doc_markdown, reason = "the text of --help")]
#[derive(Args, Clone)]
pub struct LimitSettings {
    /// Whether requests are limited by address, session and user: `on` or, not in production, `off`.
    #[arg(long, env = "RATE_LIMITS", default_value = "on")]
    rate_limits: String,
    /// The Redis in which replicas count together; without it each counts for itself.
    #[arg(long, env = "REDIS_URL", hide_env_values = true)]
    redis_url: Option<String>,
    /// A file that holds REDIS_URL.
    #[arg(long, env = "REDIS_URL_FILE")]
    redis_url_file: Option<PathBuf>,
    /// How many replicas divide each limit among themselves while Redis is away.
    #[arg(long, env = "REPLICAS", default_value = "1")]
    replicas: String,
}

/// How requests are limited.
#[derive(Clone)]
pub enum LimitConfig {
    /// Not at all.
    Off,
    /// By counts.
    On {
        /// Where replicas count together.
        redis_url: Option<SecretString>,
        /// What keys in Redis begin with.
        key_prefix: String,
        /// How many replicas there are.
        replicas: NonZeroU32,
    },
}

/// Parses the settings; `None` when `problems` got an entry.
pub(super) fn parse(
    settings: LimitSettings,
    (environment, encryption): (Environment, Encryption),
    problems: &mut Problems,
) -> Option<LimitConfig> {
    let is_on = problems.parse_bool("RATE_LIMITS", &settings.rate_limits);
    if is_on == Some(false) && environment == Environment::Production {
        problems.add("RATE_LIMITS", "must not be off in production");
        return None;
    }
    let redis_url = problems.optional_secret("REDIS_URL", settings.redis_url, settings.redis_url_file);
    let redis_url = match redis_url {
        Some(url) => Some(redis(url, encryption, problems)?),
        None => None,
    };
    let replicas = problems.parse("REPLICAS", &settings.replicas)?;
    Some(if is_on? {
        LimitConfig::On { redis_url, key_prefix: "auth-api:limit:".to_owned(), replicas }
    } else {
        LimitConfig::Off
    })
}

fn redis(secret: SecretString, encryption: Encryption, problems: &mut Problems) -> Option<SecretString> {
    // Never the parser's own message: it could repeat the password.
    let url =
        Url::parse(secret.expose_secret()).ok().filter(|url| matches!(url.scheme(), "redis" | "rediss"));
    let Some(url) = url else {
        problems.add("REDIS_URL", "must be a URL that begins with redis:// or rediss://");
        return None;
    };
    encryption.check_url(problems, "REDIS_URL", &url, "rediss");
    Some(secret)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn problems(rate_limits: &str, redis_url: &str, replicas: &str, environment: Environment) -> String {
        let settings = LimitSettings {
            rate_limits: rate_limits.to_owned(),
            redis_url: Some(redis_url.to_owned()),
            redis_url_file: None,
            replicas: replicas.to_owned(),
        };
        let encryption = match environment {
            Environment::Production => Encryption::Required,
            Environment::Development => Encryption::Optional,
        };
        let mut problems = Problems::new();
        let config = parse(settings, (environment, encryption), &mut problems);
        assert!(config.is_some() || !problems.is_empty());
        problems.to_string()
    }

    #[test]
    fn production_has_limits_and_encrypts() {
        let production = |limits, url| problems(limits, url, "2", Environment::Production);
        assert_eq!(production("on", "rediss://:s3cr3t@redis:6380/1"), "");
        assert_eq!(production("on", "redis://127.0.0.1"), "");
        assert!(production("on", "redis://:s3cr3t@redis").contains("REDIS_URL must begin with rediss://"));
        assert!(production("off", "rediss://redis").contains("RATE_LIMITS must not be off"));
        assert_eq!(problems("off", "redis://redis", "1", Environment::Development), "");
    }

    #[test]
    fn mistakes_name_their_variable_and_no_secret() {
        for (limits, url, replicas, variable) in [
            ("perhaps", "redis://redis", "1", "RATE_LIMITS"),
            ("on", "http://:s3cr3t@redis", "1", "REDIS_URL"),
            ("on", "redis:s3cr3t", "0", "REPLICAS"),
            ("on", "s3cr3t", "1", "REDIS_URL"),
        ] {
            let problems = problems(limits, url, replicas, Environment::Development);
            assert!(problems.contains(variable) && !problems.contains("s3cr3t"), "{problems}");
        }
    }
}
