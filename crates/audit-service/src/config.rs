use std::{net::SocketAddr, path::PathBuf, str::FromStr};

use chrono::TimeDelta;
use sealing::KeyRing;
use secrecy::ExposeSecret;
use service_runtime::{Encryption, Problems};
use url::Url;

use crate::{
    archive::{Archive, S3Settings},
    domain::{CheckpointKeys, Class},
};

/// A message may come again for that long, and its id is remembered no longer than its row.
const LEAST_DAYS: i32 = 35;
const MOST_DAYS: i32 = 36_500;

/// The service's own flags and variables.
#[derive(Clone, clap::Args)]
pub struct Settings {
    /// Where gRPC is served.
    #[arg(long, env = "GRPC_LISTEN", default_value = "0.0.0.0:50053", value_name = "ADDRESS:PORT")]
    grpc_listen: String,
    /// The keys that seal page tokens, the current one first: `name:key,…`, a key being 32 bytes in unpadded URL-safe base64.
    #[arg(long, env = "AUDIT_CURSOR_KEYS", hide_env_values = true, value_name = "KEYS")]
    audit_cursor_keys: Option<String>,
    /// A file that holds them.
    #[arg(long, env = "AUDIT_CURSOR_KEYS_FILE", value_name = "PATH")]
    audit_cursor_keys_file: Option<PathBuf>,
    /// The keys that seal the keys of people's data, the current one first: `name:key,…`, as above. Without them nobody reads addresses, user agents
    /// and names in the log any more.
    #[arg(long, env = "AUDIT_PERSONAL_KEYS", hide_env_values = true, value_name = "KEYS")]
    audit_personal_keys: Option<String>,
    /// A file that holds them.
    #[arg(long, env = "AUDIT_PERSONAL_KEYS_FILE", value_name = "PATH")]
    audit_personal_keys_file: Option<PathBuf>,
    /// Where copies of the log go: `s3://bucket/prefix`, or `file:///directory`, which must exist. Without it there are none.
    #[arg(long, env = "AUDIT_ARCHIVE_URL", value_name = "URL")]
    audit_archive_url: Option<String>,
    /// How old an event gets before it is copied, at most.
    #[arg(long, env = "AUDIT_ARCHIVE_PERIOD", default_value = "1h", value_name = "DURATION")]
    audit_archive_period: String,
    /// The S3-compatible store, if it is not AWS itself: `https://`, in development and on this machine `http://`, too.
    #[arg(long, env = "AUDIT_ARCHIVE_S3_ENDPOINT", value_name = "URL")]
    audit_archive_s3_endpoint: Option<String>,
    /// The region of the bucket.
    #[arg(long, env = "AUDIT_ARCHIVE_S3_REGION", value_name = "REGION")]
    audit_archive_s3_region: Option<String>,
    /// Who writes to the bucket; without it the role that the machine has.
    #[arg(long, env = "AUDIT_ARCHIVE_S3_ACCESS_KEY_ID", value_name = "ID")]
    audit_archive_s3_access_key_id: Option<String>,
    /// The secret of that key.
    #[arg(long, env = "AUDIT_ARCHIVE_S3_SECRET_ACCESS_KEY", hide_env_values = true, value_name = "SECRET")]
    audit_archive_s3_secret_access_key: Option<String>,
    /// A file that holds it.
    #[arg(long, env = "AUDIT_ARCHIVE_S3_SECRET_ACCESS_KEY_FILE", value_name = "PATH")]
    audit_archive_s3_secret_access_key_file: Option<PathBuf>,
    /// The private key that signs checkpoints: 32 bytes in unpadded URL-safe base64, as `keys generate` prints it. Whoever can change the log must
    /// not have it. Without one this process signs nothing and drops nothing.
    #[arg(long, env = "AUDIT_CHECKPOINT_KEY", hide_env_values = true, value_name = "KEY")]
    audit_checkpoint_key: Option<String>,
    /// A file that holds it.
    #[arg(long, env = "AUDIT_CHECKPOINT_KEY_FILE", value_name = "PATH")]
    audit_checkpoint_key_file: Option<PathBuf>,
    /// The public halves of keys that signed before, separated by commas. With these alone the log can be verified.
    #[arg(long, env = "AUDIT_CHECKPOINT_PUBLIC_KEYS", default_value = "", value_name = "KEYS")]
    audit_checkpoint_public_keys: String,
    /// How long each class of events is kept, at least 35 days: `routine` is refreshed sessions, `security` the rest. `migrate up` writes it into the
    /// database, where the serving role cannot change it.
    #[arg(
        long,
        env = "AUDIT_RETENTION",
        default_value = "security=400d,routine=35d",
        value_name = "CLASS=DAYS"
    )]
    audit_retention: String,
}

/// What the service is configured with, beyond what every service is.
#[derive(Debug, Clone)]
pub struct Config {
    /// Where gRPC is served; port 0 is allowed.
    pub grpc_listen: SocketAddr,
    /// The keys that seal page tokens.
    pub cursor_keys: KeyRing,
    /// The keys that seal the keys of people's data.
    pub personal_keys: KeyRing,
    /// Where copies of the log go.
    pub archive: Option<Archive>,
    /// How old an event gets before it is copied.
    pub archive_period: TimeDelta,
    /// The keys that sign and verify checkpoints.
    pub checkpoint_keys: CheckpointKeys,
    /// For how many days each class is kept.
    pub retention: Vec<(Class, i32)>,
}

impl Config {
    /// Parses the settings, and adds every mistake to `problems`.
    pub fn parse(settings: Settings, encryption: Encryption, problems: &mut Problems) -> Option<Self> {
        let grpc_listen = problems.parse("GRPC_LISTEN", &settings.grpc_listen);
        let cursor_keys = key_ring(
            problems,
            "AUDIT_CURSOR_KEYS",
            settings.audit_cursor_keys,
            settings.audit_cursor_keys_file,
        );
        let personal_keys = key_ring(
            problems,
            "AUDIT_PERSONAL_KEYS",
            settings.audit_personal_keys,
            settings.audit_personal_keys_file,
        );
        let archive_period = problems
            .parse_duration("AUDIT_ARCHIVE_PERIOD", &settings.audit_archive_period)
            .and_then(|period| TimeDelta::from_std(period).ok());
        let s3 = S3Settings {
            endpoint: s3_endpoint(settings.audit_archive_s3_endpoint.as_deref(), encryption, problems),
            region: settings.audit_archive_s3_region,
            access_key_id: settings.audit_archive_s3_access_key_id,
            secret_access_key: problems.optional_secret(
                "AUDIT_ARCHIVE_S3_SECRET_ACCESS_KEY",
                settings.audit_archive_s3_secret_access_key,
                settings.audit_archive_s3_secret_access_key_file,
            ),
        };
        if s3.access_key_id.is_some() != s3.secret_access_key.is_some() {
            let why = "is one half; both are needed, or neither";
            problems.add("AUDIT_ARCHIVE_S3_ACCESS_KEY_ID", why);
        }
        let archive = match settings.audit_archive_url.map(|url| Archive::new(&url, &s3)).transpose() {
            Ok(archive) => archive,
            Err(error) => {
                problems.add("AUDIT_ARCHIVE_URL", format_args!("cannot be used: {error:#}"));
                None
            }
        };
        let checkpoint_keys = checkpoint_keys(
            problems,
            settings.audit_checkpoint_key,
            settings.audit_checkpoint_key_file,
            &settings.audit_checkpoint_public_keys,
        );
        let retention = problems.parse_list::<Retention>("AUDIT_RETENTION", &settings.audit_retention);
        let times = |class: &Class| retention.iter().flatten().filter(|named| named.0 == *class).count();
        if retention.is_some() && !Class::ALL.iter().all(|class| times(class) == 1) {
            problems
                .add("AUDIT_RETENTION", "does not say once how long each of security and routine is kept");
        }
        Some(Self {
            grpc_listen: grpc_listen?,
            cursor_keys: cursor_keys?,
            personal_keys: personal_keys?,
            checkpoint_keys: checkpoint_keys?,
            archive,
            archive_period: archive_period?,
            retention: retention?.into_iter().map(|Retention(class, days)| (class, days)).collect(),
        })
    }
}

fn s3_endpoint(endpoint: Option<&str>, encryption: Encryption, problems: &mut Problems) -> Option<Url> {
    let name = "AUDIT_ARCHIVE_S3_ENDPOINT";
    let url: Url = problems.parse(name, endpoint.filter(|endpoint| !endpoint.is_empty())?)?;
    if !matches!(url.scheme(), "http" | "https") {
        problems.add(name, "must begin with http:// or https://");
        return None;
    }
    encryption.check_url(problems, name, &url, "https");
    Some(url)
}

/// `class=days`
struct Retention(Class, i32);

impl FromStr for Retention {
    type Err = &'static str;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let expected = "an entry is class=days, such as security=400d";
        let (class, days) = text.split_once('=').ok_or(expected)?;
        let class = Class::parse(class.trim()).ok_or("the classes are security and routine")?;
        let days: i32 = days.trim().strip_suffix('d').and_then(|days| days.parse().ok()).ok_or(expected)?;
        if (LEAST_DAYS..=MOST_DAYS).contains(&days) {
            Ok(Self(class, days))
        } else {
            Err("events are kept for 35 to 36500 days")
        }
    }
}

fn checkpoint_keys(
    problems: &mut Problems,
    private: Option<String>,
    file: Option<PathBuf>,
    public: &str,
) -> Option<CheckpointKeys> {
    let public: Vec<&str> = public.split(',').map(str::trim).filter(|key| !key.is_empty()).collect();
    let name = "AUDIT_CHECKPOINT_KEY";
    let private = if public.is_empty() {
        Some(problems.required_secret(name, private, file)?)
    } else {
        let before = problems.len();
        let private = problems.optional_secret(name, private, file);
        (problems.len() == before).then_some(())?;
        private
    };
    if let Err(error) = CheckpointKeys::parse(None, &public) {
        problems.add("AUDIT_CHECKPOINT_PUBLIC_KEYS", error);
        return None;
    }
    match CheckpointKeys::parse(private.as_ref().map(ExposeSecret::expose_secret), &public) {
        Ok(keys) => Some(keys),
        Err(error) => {
            problems.add(name, error);
            None
        }
    }
}

fn key_ring(
    problems: &mut Problems,
    name: &'static str,
    value: Option<String>,
    file: Option<PathBuf>,
) -> Option<KeyRing> {
    let keys = problems.required_secret(name, value, file)?;
    match KeyRing::parse(keys.expose_secret()) {
        Ok(keys) => Some(keys),
        Err(error) => {
            problems.add(name, format_args!("cannot be understood: {error}"));
            None
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn settings(listen: &str, keys: Option<&str>) -> Settings {
        Settings {
            grpc_listen: listen.to_owned(),
            audit_cursor_keys: keys.map(str::to_owned),
            audit_cursor_keys_file: None,
            audit_personal_keys: keys.map(str::to_owned),
            audit_personal_keys_file: None,
            audit_archive_url: None,
            audit_archive_period: "1h".to_owned(),
            audit_archive_s3_endpoint: None,
            audit_archive_s3_region: None,
            audit_archive_s3_access_key_id: None,
            audit_archive_s3_secret_access_key: None,
            audit_archive_s3_secret_access_key_file: None,
            audit_checkpoint_key: keys.map(|keys| keys.trim_start_matches("k1:").to_owned()),
            audit_checkpoint_key_file: None,
            audit_checkpoint_public_keys: String::new(),
            audit_retention: "security=400d,routine=35d".to_owned(),
        }
    }

    #[test]
    fn every_mistake_is_named_and_no_key_is_repeated() {
        for (keys, expected) in [(None, "required"), (Some("k1:hunter2"), "k1")] {
            let mut problems = Problems::new();
            assert!(
                Config::parse(settings("everywhere", keys), Encryption::Required, &mut problems).is_none()
            );
            let text = problems.to_string();
            assert!(
                ["GRPC_LISTEN", "AUDIT_CURSOR_KEYS", "AUDIT_PERSONAL_KEYS", "AUDIT_CHECKPOINT_KEY", expected]
                    .iter()
                    .all(|it| text.contains(it)),
                "{text}"
            );
            assert!(!text.contains("hunter2"), "{text}");
        }
    }

    #[test]
    fn a_log_that_is_only_verified_needs_no_private_key() {
        let public = CheckpointKeys::generate().public_keys().remove(0).1;
        let mut problems = Problems::new();
        let keys = checkpoint_keys(&mut problems, None, None, &public).unwrap();
        assert_eq!(keys.signing_id(), None);
        assert!(checkpoint_keys(&mut problems, None, None, "hunter2").is_none());
        assert!(!problems.to_string().contains("hunter2"), "{problems}");
    }

    #[test]
    fn nothing_is_kept_for_less_than_a_message_may_come_again() {
        for (text, is_good) in [
            ("security=400d", true),
            ("routine=35d", true),
            ("routine=34d", false),
            ("routine=35", false),
            ("other=35d", false),
            ("security", false),
        ] {
            assert_eq!(text.parse::<Retention>().is_ok(), is_good, "{text}");
        }
    }

    #[test]
    fn a_good_configuration_is_understood() {
        let mut problems = Problems::new();
        let keys = "k1:AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8";
        let config =
            Config::parse(settings("127.0.0.1:0", Some(keys)), Encryption::Required, &mut problems).unwrap();
        assert!(problems.is_empty());
        assert_eq!(config.grpc_listen.port(), 0);
        assert_eq!(config.retention, [(Class::Security, 400), (Class::Routine, 35)]);
    }

    #[test]
    fn an_archive_is_a_directory_or_a_bucket() {
        test_support::install_crypto_provider();
        let keys = Some("k1:AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8");
        let directory = tempfile::tempdir().unwrap();
        let directory = format!("file://{}", directory.path().display());
        for (url, good) in [
            (&*directory, true),
            ("s3://bucket/audit/log", true),
            ("file:///nowhere/at/all", false),
            ("ftp://example.org", false),
            ("backup", false),
        ] {
            let mut problems = Problems::new();
            let settings = Settings {
                audit_archive_url: Some(url.to_owned()),
                audit_archive_s3_endpoint: Some("http://127.0.0.1:9000".to_owned()),
                ..settings("127.0.0.1:0", keys)
            };
            let config = Config::parse(settings, Encryption::Required, &mut problems);
            assert_eq!(problems.is_empty(), good, "{url}: {problems}");
            assert_eq!(config.is_some_and(|config| config.archive.is_some()), good, "{url}");
        }
    }

    #[test]
    fn production_speaks_plaintext_to_no_bucket_elsewhere() {
        test_support::install_crypto_provider();
        let keys = Some("k1:AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8");
        for (endpoint, encryption, expected) in [
            ("https://s3.example.org", Encryption::Required, ""),
            ("http://127.0.0.1:9000", Encryption::Required, ""),
            ("http://s3.example.org", Encryption::Optional, ""),
            ("", Encryption::Required, ""),
            ("http://s3.example.org", Encryption::Required, "must begin with https:// in production"),
            ("HTTP://s3.example.org", Encryption::Required, "must begin with https:// in production"),
            ("ftp://s3.example.org", Encryption::Optional, "must begin with http:// or https://"),
            ("s3.example.org", Encryption::Optional, "cannot be understood"),
        ] {
            let mut problems = Problems::new();
            let settings = Settings {
                audit_archive_url: Some("s3://bucket/audit/log".to_owned()),
                audit_archive_s3_endpoint: Some(endpoint.to_owned()),
                ..settings("127.0.0.1:0", keys)
            };
            Config::parse(settings, encryption, &mut problems);
            let said = problems.to_string();
            assert_eq!(said.is_empty(), expected.is_empty(), "{endpoint}: {said}");
            assert!(expected.is_empty() || said.contains("AUDIT_ARCHIVE_S3_ENDPOINT"), "{endpoint}: {said}");
            assert!(said.contains(expected), "{endpoint}: {said}");
        }
    }
}
