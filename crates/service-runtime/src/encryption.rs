use std::net::IpAddr;

use secrecy::SecretString;
use url::Url;

use crate::{Environment, Problems, settings::TransportSettings};

/// Whether we must encrypt what leaves this machine. In production somebody must, and it is us unless a service mesh does.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Encryption {
    /// Unless it stays on this machine.
    Required,
    /// Not in development, nor where a service mesh does.
    Optional,
}

impl Encryption {
    pub(crate) fn parse(
        settings: &TransportSettings,
        environment: Environment,
        problems: &mut Problems,
    ) -> Self {
        let mesh = problems.parse_bool("SERVICE_MESH_TLS", &settings.service_mesh_tls).unwrap_or_default();
        if environment == Environment::Production && !mesh { Self::Required } else { Self::Optional }
    }

    /// Judges the database URL in `variable`.
    pub(crate) fn check_database_url(self, problems: &mut Problems, variable: &str, url: &SecretString) {
        if self == Self::Optional {
            return;
        }
        match pg::may_travel_unencrypted(url) {
            Ok(false) => (),
            Ok(true) => problems.add(
                variable,
                "must say sslmode=require, verify-ca or verify-full in production unless SERVICE_MESH_TLS is true",
            ),
            Err(error) => problems.add(variable, format_args!("cannot be understood: {error:#}")),
        }
    }

    /// Judges the URL in `variable`, which is encrypted when its scheme is `encrypted`.
    pub fn check_url(self, problems: &mut Problems, variable: &str, url: &Url, encrypted: &str) {
        if self == Self::Required && url.scheme() != encrypted && !is_loopback(url) {
            problems.add(
                variable,
                format_args!("must begin with {encrypted}:// in production unless SERVICE_MESH_TLS is true"),
            );
        }
    }
}

fn is_loopback(url: &Url) -> bool {
    let host = url.host_str().unwrap_or_default().trim_matches(['[', ']']);
    host == "localhost" || host.parse().is_ok_and(|ip: IpAddr| ip.is_loopback())
}

#[cfg(test)]
mod tests {
    use super::*;

    const DATABASE: &str = "DATABASE_URL must say sslmode=require, verify-ca or verify-full in production";

    fn database_problem(encryption: Encryption, url: &str) -> String {
        let mut problems = Problems::new();
        encryption.check_database_url(&mut problems, "DATABASE_URL", &url.into());
        problems.to_string()
    }

    fn url_problem(encryption: Encryption, url: &str) -> String {
        let mut problems = Problems::new();
        encryption.check_url(&mut problems, "AMQP_URL", &url.parse().unwrap(), "amqps");
        problems.to_string()
    }

    #[test]
    fn grp_06_production_encrypts_unless_a_mesh_does() {
        let parse = |environment, mesh: &str| {
            let settings = TransportSettings {
                tls_ca: None,
                tls_cert: None,
                tls_key: None,
                grpc_plaintext: "false".to_owned(),
                service_mesh_tls: mesh.to_owned(),
            };
            Encryption::parse(&settings, environment, &mut Problems::new())
        };
        assert_eq!(parse(Environment::Production, "false"), Encryption::Required);
        assert_eq!(parse(Environment::Production, "perhaps"), Encryption::Required);
        assert_eq!(parse(Environment::Production, "true"), Encryption::Optional);
        assert_eq!(parse(Environment::Development, "false"), Encryption::Optional);
    }

    #[test]
    fn a_database_elsewhere_needs_tls() {
        let required = |url| database_problem(Encryption::Required, url);
        assert!(required("postgres://u:s3cr3t@db/d").contains(DATABASE));
        assert!(required("postgres://u:s3cr3t@db/d?sslmode=prefer").contains(DATABASE));
        assert_eq!(required("postgres://u:s3cr3t@db/d?sslmode=verify-full"), "");
        assert_eq!(required("postgres://u:s3cr3t@127.0.0.1/d"), "");
        assert_eq!(required("postgres://u:s3cr3t@/d?host=/run/postgresql"), "");
        let misspelt = required("postgres://u:s3cr3t@db/d?sslmodus=require");
        assert!(misspelt.contains("DATABASE_URL cannot be understood"), "{misspelt}");
        assert!(!misspelt.contains("s3cr3t"), "{misspelt}");
        assert_eq!(database_problem(Encryption::Optional, "postgres://u:s3cr3t@db/d"), "");
    }

    #[test]
    fn other_servers_elsewhere_need_tls() {
        let required = |url| url_problem(Encryption::Required, url);
        for url in ["amqp://u:s3cr3t@broker", "amqp://u:s3cr3t@127.0.0.1.example.com", "amqp://"] {
            assert!(required(url).contains("AMQP_URL must begin with amqps:// in production"), "{url}");
        }
        for url in ["amqps://broker", "amqp://localhost:5672", "amqp://127.0.0.2", "amqp://[::1]/v"] {
            assert_eq!(required(url), "");
        }
        assert_eq!(url_problem(Encryption::Optional, "amqp://broker"), "");
    }
}
