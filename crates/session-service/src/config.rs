//! The service's own configuration, beside what every service has.

use std::{net::SocketAddr, path::PathBuf, time::Duration};

use access_tokens::TokenScope;
use chrono::TimeDelta;
use sealing::KeyRing;
use secrecy::{ExposeSecret, SecretString};
use service_runtime::{Encryption, Problems};
use url::Url;

/// A token that lives shorter makes every client refresh all the time.
const MIN_TOKEN_TTL: Duration = Duration::from_mins(1);
/// A token that lives longer stays good too long where revocation is not heard of.
const MAX_TOKEN_TTL: Duration = Duration::from_mins(15);
/// A key is published for a quarter of an hour and verifies for as long after the next one took over, so that more than three would be known at once.
const MIN_KEY_ROTATION: Duration = Duration::from_hours(1);
/// Whoever never rotates finds out in an emergency whether it works.
const MAX_KEY_ROTATION: Duration = Duration::from_hours(366 * 24);

/// Flags and variables as they come.
#[derive(Clone, clap::Args)]
pub struct Settings {
    /// Where gRPC is served.
    #[arg(long, env = "GRPC_LISTEN", default_value = "0.0.0.0:50051")]
    grpc_listen: String,
    /// Keys that seal signing keys and refresh keys: `name:base64url` pairs, the sealing one first.
    #[arg(long, env = "SESSION_KEYS", hide_env_values = true)]
    session_keys: Option<String>,
    /// A file with the keys that seal.
    #[arg(long, env = "SESSION_KEYS_FILE")]
    session_keys_file: Option<PathBuf>,
    /// The issuer of access tokens, a URL.
    #[arg(long, env = "TOKEN_ISSUER")]
    token_issuer: Option<String>,
    /// The audience of access tokens.
    #[arg(long, env = "TOKEN_AUDIENCE")]
    token_audience: Option<String>,
    /// How long an access token lives, 1m to 15m.
    #[arg(long, env = "TOKEN_TTL", default_value = "5m")]
    token_ttl: String,
    /// How long a key signs before the next one takes over, 1h to 366d.
    #[arg(long, env = "TOKEN_KEY_ROTATION", default_value = "90d")]
    token_key_rotation: String,
    /// The Redis through which replicas tell each other of revocations; without it they find out by polling.
    #[arg(long, env = "REDIS_URL", hide_env_values = true)]
    redis_url: Option<String>,
    /// A file that holds the URL of Redis.
    #[arg(long, env = "REDIS_URL_FILE")]
    redis_url_file: Option<PathBuf>,
}

/// The parsed configuration.
#[derive(Debug, Clone)]
pub struct Config {
    /// Where gRPC is served.
    pub grpc_listen: SocketAddr,
    /// Seals what is secret in the database.
    pub key_ring: KeyRing,
    /// `iss` of access tokens.
    pub token_issuer: String,
    /// `aud` of access tokens.
    pub token_audience: String,
    /// How long an access token lives.
    pub token_ttl: TimeDelta,
    /// How long a key signs.
    pub token_key_rotation: TimeDelta,
    /// Where replicas tell each other of revocations.
    pub redis_url: Option<SecretString>,
}

impl Config {
    /// Parses `settings`; every mistake is added to `problems`.
    pub fn parse(settings: Settings, encryption: Encryption, problems: &mut Problems) -> Option<Self> {
        let grpc_listen = problems.parse("GRPC_LISTEN", &settings.grpc_listen);
        let key_ring = parse_key_ring(settings.session_keys, settings.session_keys_file, problems);
        let token_issuer = parse_issuer(settings.token_issuer, problems);
        let token_audience = parse_audience(settings.token_audience, problems);
        let token_ttl = parse_ttl(&settings.token_ttl, problems);
        let token_key_rotation = parse_rotation(&settings.token_key_rotation, problems);
        let redis_url = problems.optional_secret("REDIS_URL", settings.redis_url, settings.redis_url_file);
        let redis_url = redis_url.map_or(Some(None), |url| parse_redis(url, encryption, problems).map(Some));
        Some(Self {
            grpc_listen: grpc_listen?,
            key_ring: key_ring?,
            token_issuer: token_issuer?,
            token_audience: token_audience?,
            token_ttl: token_ttl?,
            token_key_rotation: token_key_rotation?,
            redis_url: redis_url?,
        })
    }
}

fn parse_key_ring(keys: Option<String>, file: Option<PathBuf>, problems: &mut Problems) -> Option<KeyRing> {
    let keys = problems.required_secret("SESSION_KEYS", keys, file)?;
    KeyRing::parse(keys.expose_secret()).map_err(|error| problems.add("SESSION_KEYS", error)).ok()
}

fn parse_issuer(issuer: Option<String>, problems: &mut Problems) -> Option<String> {
    let issuer = problems.required("TOKEN_ISSUER", issuer)?;
    let checked = TokenScope::check_issuer(&issuer);
    checked.map_err(|error| problems.add("TOKEN_ISSUER", error)).ok()?;
    Some(issuer)
}

fn parse_audience(audience: Option<String>, problems: &mut Problems) -> Option<String> {
    let audience = problems.required("TOKEN_AUDIENCE", audience)?;
    let checked = TokenScope::check_audience(&audience);
    checked.map_err(|error| problems.add("TOKEN_AUDIENCE", error)).ok()?;
    Some(audience)
}

fn parse_ttl(ttl: &str, problems: &mut Problems) -> Option<TimeDelta> {
    let ttl = problems.parse_duration("TOKEN_TTL", ttl)?;
    if !(MIN_TOKEN_TTL..=MAX_TOKEN_TTL).contains(&ttl) {
        problems.add("TOKEN_TTL", "must be from 1m to 15m");
        return None;
    }
    TimeDelta::from_std(ttl).ok()
}

fn parse_rotation(rotation: &str, problems: &mut Problems) -> Option<TimeDelta> {
    let rotation = problems.parse_duration("TOKEN_KEY_ROTATION", rotation)?;
    if !(MIN_KEY_ROTATION..=MAX_KEY_ROTATION).contains(&rotation) {
        problems.add("TOKEN_KEY_ROTATION", "must be from 1h to 366d");
        return None;
    }
    TimeDelta::from_std(rotation).ok()
}

fn parse_redis(
    secret: SecretString,
    encryption: Encryption,
    problems: &mut Problems,
) -> Option<SecretString> {
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

    fn settings() -> Settings {
        Settings {
            grpc_listen: "127.0.0.1:0".to_owned(),
            session_keys: Some("k1:AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8".to_owned()),
            session_keys_file: None,
            token_issuer: Some("https://auth.example".to_owned()),
            token_audience: Some("feature-auth".to_owned()),
            token_ttl: "5m".to_owned(),
            token_key_rotation: "90d".to_owned(),
            redis_url: None,
            redis_url_file: None,
        }
    }

    /// What is said about `settings`.
    fn problems_of(settings: Settings) -> String {
        let mut problems = Problems::new();
        let config = Config::parse(settings, Encryption::Optional, &mut problems);
        assert_eq!(config.is_some(), problems.is_empty());
        format!("{problems:?}")
    }

    #[test]
    fn a_good_configuration_is_understood() {
        let config = Config::parse(settings(), Encryption::Optional, &mut Problems::new()).unwrap();
        assert_eq!(
            (config.token_issuer.as_str(), config.token_ttl),
            ("https://auth.example", TimeDelta::minutes(5))
        );
    }

    #[test]
    fn every_mistake_is_named_at_once() {
        let all = problems_of(Settings {
            grpc_listen: "here".to_owned(),
            session_keys: Some("k1:AAEC".to_owned()),
            session_keys_file: None,
            token_issuer: Some("auth.example".to_owned()),
            token_audience: None,
            token_ttl: "16m".to_owned(),
            token_key_rotation: "0d".to_owned(),
            redis_url: Some("http://:s3cr3t@redis".to_owned()),
            redis_url_file: None,
        });
        for variable in [
            "GRPC_LISTEN",
            "SESSION_KEYS",
            "TOKEN_ISSUER",
            "TOKEN_AUDIENCE",
            "TOKEN_TTL",
            "TOKEN_KEY_ROTATION",
            "REDIS_URL",
        ] {
            assert!(all.contains(variable), "{variable} in {all}");
        }
        assert!(!all.contains("AAEC") && !all.contains("s3cr3t"), "{all}");
    }

    #[test]
    fn the_lifetime_of_tokens_has_a_floor_and_a_ceiling() {
        for (ttl, good) in [("59s", false), ("1m", true), ("15m", true), ("901s", false), ("5", false)] {
            let said = problems_of(Settings { token_ttl: ttl.to_owned(), ..settings() });
            assert_eq!(!said.contains("TOKEN_TTL"), good, "{ttl}: {said}");
        }
    }

    #[test]
    fn the_rotation_of_keys_has_a_floor_and_a_ceiling() {
        for (rotation, good) in [("59m", false), ("1h", true), ("366d", true), ("367d", false), ("90", false)]
        {
            let said = problems_of(Settings { token_key_rotation: rotation.to_owned(), ..settings() });
            assert_eq!(!said.contains("TOKEN_KEY_ROTATION"), good, "{rotation}: {said}");
        }
    }

    #[test]
    fn redis_is_optional_and_spoken_to_in_plain_text_only_where_that_is_allowed() {
        for (url, encryption, good) in [
            ("redis://:s3cr3t@redis", Encryption::Optional, true),
            ("rediss://:s3cr3t@redis:6380/1", Encryption::Required, true),
            ("redis://127.0.0.1", Encryption::Required, true),
            ("redis://:s3cr3t@redis", Encryption::Required, false),
            ("s3cr3t", Encryption::Optional, false),
        ] {
            let mut problems = Problems::new();
            Config::parse(
                Settings { redis_url: Some(url.to_owned()), ..settings() },
                encryption,
                &mut problems,
            );
            let said = format!("{problems:?}");
            assert_eq!(!said.contains("REDIS_URL"), good, "{url}: {said}");
            assert!(!said.contains("s3cr3t"), "{said}");
        }
    }
}
