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
}

/// What the service is configured with, beyond what every service is.
#[derive(Debug, Clone)]
pub struct Config {
    /// Where gRPC is served; port 0 is allowed.
    pub grpc_listen: SocketAddr,
    /// The keys that seal page tokens.
    pub cursor_keys: KeyRing,
}

impl Config {
    /// Parses the settings, and adds every mistake to `problems`.
    pub fn parse(settings: Settings, problems: &mut Problems) -> Option<Self> {
        let grpc_listen = problems.parse("GRPC_LISTEN", &settings.grpc_listen);
        let keys = problems.required_secret(
            "AUDIT_CURSOR_KEYS",
            settings.audit_cursor_keys,
            settings.audit_cursor_keys_file,
        );
        let cursor_keys = keys.and_then(|keys| match KeyRing::parse(keys.expose_secret()) {
            Ok(keys) => Some(keys),
            Err(error) => {
                problems.add("AUDIT_CURSOR_KEYS", format_args!("cannot be understood: {error}"));
                None
            }
        });
        Some(Self { grpc_listen: grpc_listen?, cursor_keys: cursor_keys? })
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
        }
    }

    #[test]
    fn every_mistake_is_named_and_no_key_is_repeated() {
        for (keys, expected) in [(None, "required"), (Some("k1:hunter2"), "k1")] {
            let mut problems = Problems::new();
            assert!(Config::parse(settings("everywhere", keys), &mut problems).is_none());
            let text = problems.to_string();
            assert!(
                text.contains("GRPC_LISTEN") && text.contains("AUDIT_CURSOR_KEYS") && text.contains(expected),
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
