use std::{net::SocketAddr, path::PathBuf};

use sealing::KeyRing;
use secrecy::ExposeSecret;
use service_runtime::Problems;

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
}

impl Config {
    /// Parses the settings, and adds every mistake to `problems`.
    pub fn parse(settings: Settings, problems: &mut Problems) -> Option<Self> {
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
        Some(Self { grpc_listen: grpc_listen?, cursor_keys: cursor_keys?, personal_keys: personal_keys? })
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
        }
    }

    #[test]
    fn every_mistake_is_named_and_no_key_is_repeated() {
        for (keys, expected) in [(None, "required"), (Some("k1:hunter2"), "k1")] {
            let mut problems = Problems::new();
            assert!(Config::parse(settings("everywhere", keys), &mut problems).is_none());
            let text = problems.to_string();
            assert!(
                ["GRPC_LISTEN", "AUDIT_CURSOR_KEYS", "AUDIT_PERSONAL_KEYS", expected]
                    .iter()
                    .all(|it| text.contains(it)),
                "{text}"
            );
            assert!(!text.contains("hunter2"), "{text}");
        }
    }

    #[test]
    fn a_good_configuration_is_understood() {
        let mut problems = Problems::new();
        let keys = "k1:AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8";
        let config = Config::parse(settings("127.0.0.1:0", Some(keys)), &mut problems).unwrap();
        assert!(problems.is_empty());
        assert_eq!(config.grpc_listen.port(), 0);
    }
}
