//! What `sslmode` and `sslrootcert` of a database URL mean. The driver knows neither `verify-full` nor `sslrootcert`, so they are taken
//! out of the URL before the driver parses it.

use std::{net::IpAddr, path::PathBuf, sync::Arc};

use anyhow::{Context, bail, ensure};
use rustls::{ClientConfig, RootCertStore, crypto::ring};
use rustls_pki_types::{CertificateDer, pem::PemObject};
use secrecy::{ExposeSecret, SecretString};
use tokio_postgres::config::{Config, Host, SslMode};
use tokio_postgres_rustls::MakeRustlsConnect;

/// Whether a connection to `url` may leave this machine unencrypted: it names another one and does not insist on TLS.
pub fn may_travel_unencrypted(url: &SecretString) -> anyhow::Result<bool> {
    let (rest, tls) = TlsWish::split_off(url.expose_secret())?;
    Ok(tls.wish != Wish::Always && !is_local(&rest.parse()?))
}

/// How much encryption the URL asks for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Wish {
    Never,
    IfOffered,
    Always,
}

/// What the URL says about TLS.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct TlsWish {
    wish: Wish,
    root_certificate: Option<PathBuf>,
}

impl TlsWish {
    /// Splits `url` into the rest that the driver understands and what it says about TLS.
    pub(crate) fn split_off(url: &str) -> anyhow::Result<(String, Self)> {
        let mut tls = Self { wish: Wish::IfOffered, root_certificate: None };
        let Some((base, query)) = url.split_once('?') else { return Ok((url.to_owned(), tls)) };
        let mut rest = Vec::new();
        for pair in query.split('&') {
            match pair.split_once('=') {
                Some(("sslmode", mode)) => tls.wish = Wish::from_sslmode(mode)?,
                Some(("sslrootcert", "system")) => tls.root_certificate = None,
                Some(("sslrootcert", path)) => tls.root_certificate = Some(path.replace("%2F", "/").into()),
                _ => rest.push(pair),
            }
        }
        let rest = rest.join("&");
        Ok((if rest.is_empty() { base.to_owned() } else { format!("{base}?{rest}") }, tls))
    }

    /// Tells the driver what to ask the server for, and makes the connector unless everything stays plain.
    pub(crate) fn apply(self, config: &mut Config) -> anyhow::Result<Option<MakeRustlsConnect>> {
        let mode = match self.wish {
            Wish::Never => SslMode::Disable,
            Wish::IfOffered if is_local(config) => SslMode::Disable,
            Wish::IfOffered => SslMode::Prefer,
            Wish::Always => SslMode::Require,
        };
        config.ssl_mode(mode);
        if mode == SslMode::Disable { Ok(None) } else { self.connector().map(Some) }
    }

    fn connector(self) -> anyhow::Result<MakeRustlsConnect> {
        let config = ClientConfig::builder_with_provider(Arc::new(ring::default_provider()))
            .with_safe_default_protocol_versions()?
            .with_root_certificates(self.roots()?)
            .with_no_client_auth();
        Ok(MakeRustlsConnect::new(config))
    }

    fn roots(self) -> anyhow::Result<RootCertStore> {
        let mut roots = RootCertStore::empty();
        if let Some(path) = self.root_certificate {
            let certificates = CertificateDer::pem_file_iter(&path)
                .with_context(|| format!("cannot read sslrootcert {}", path.display()))?;
            for certificate in certificates {
                roots.add(certificate.with_context(|| format!("sslrootcert {}", path.display()))?)?;
            }
            ensure!(!roots.is_empty(), "sslrootcert {} has no certificate", path.display());
        } else {
            roots.add_parsable_certificates(rustls_native_certs::load_native_certs().certs);
            ensure!(!roots.is_empty(), "the system has no root certificates; name one with sslrootcert");
        }
        Ok(roots)
    }
}

impl Wish {
    fn from_sslmode(mode: &str) -> anyhow::Result<Self> {
        Ok(match mode {
            "disable" => Self::Never,
            "allow" | "prefer" => Self::IfOffered,
            // libpq's `require` encrypts without looking at the certificate, which stops nobody who can read the traffic.
            "require" | "verify-ca" | "verify-full" => Self::Always,
            _ => bail!("sslmode {mode:?} is none of disable, allow, prefer, require, verify-ca, verify-full"),
        })
    }
}

fn is_local(config: &Config) -> bool {
    // An address, where there is one, is what is connected to; the host is then a mere name.
    config.get_hostaddrs().iter().all(IpAddr::is_loopback)
        && config.get_hosts().iter().all(|host| match host {
            Host::Tcp(name) => name == "localhost" || name.parse().is_ok_and(|ip: IpAddr| ip.is_loopback()),
            Host::Unix(_) => true,
        })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ssl_mode(url: &str) -> SslMode {
        let (rest, tls) = TlsWish::split_off(url).unwrap();
        let mut config: Config = rest.parse().unwrap();
        tls.apply(&mut config).unwrap();
        config.get_ssl_mode()
    }

    #[test]
    fn loopback_is_plain_unless_the_url_insists() {
        assert_eq!(ssl_mode("postgres://u:p@localhost/d"), SslMode::Disable);
        assert_eq!(ssl_mode("postgres://u:p@127.0.0.1/d?sslmode=prefer"), SslMode::Disable);
        assert_eq!(ssl_mode("postgres://u:p@db/d?sslmode=disable&application_name=x"), SslMode::Disable);
    }

    #[test]
    fn only_what_stays_here_or_insists_on_tls_is_never_unencrypted() {
        let may = |url: &str| may_travel_unencrypted(&url.into()).unwrap();
        for url in [
            "postgres://u:p@db/d",
            "postgres://u:p@db/d?sslmode=disable",
            "postgres://u:p@db/d?sslmode=prefer",
            "postgres://u:p@localhost,db/d",
            "postgres://u:p@localhost/d?hostaddr=192.0.2.1",
            "postgres://u:p@/d?host=db",
        ] {
            assert!(may(url), "{url}");
        }
        for url in [
            "postgres://u:p@db/d?sslmode=require",
            "postgres://u:p@db/d?sslmode=verify-ca",
            "postgres://u:p@db/d?sslmode=verify-full&sslrootcert=/ca.pem",
            "postgres://u:p@localhost/d?sslmode=disable",
            "postgres://u:p@127.0.0.1/d",
            "postgres://u:p@[::1]/d",
            "postgres://u:p@%2Frun%2Fpostgresql/d",
            "postgres://u:p@/d?host=/run/postgresql",
        ] {
            assert!(!may(url), "{url}");
        }
        assert!(may_travel_unencrypted(&"postgres://u:p@localhost/d?sslmode=on".into()).is_err());
    }

    #[test]
    fn other_parameters_survive() {
        let url = "postgres://u@h/d?a=1&sslmode=verify-full&sslrootcert=/ca.pem&options=-c%20x%3D1";
        let (rest, tls) = TlsWish::split_off(url).unwrap();
        assert_eq!(rest, "postgres://u@h/d?a=1&options=-c%20x%3D1");
        assert_eq!(tls, TlsWish { wish: Wish::Always, root_certificate: Some("/ca.pem".into()) });
    }

    #[test]
    fn a_misspelt_mode_or_a_missing_file_is_refused() {
        assert!(TlsWish::split_off("postgres://u@h/d?sslmode=verify_full").is_err());
        let (rest, tls) =
            TlsWish::split_off("postgres://u@h/d?sslmode=require&sslrootcert=/nowhere.pem").unwrap();
        assert!(tls.apply(&mut rest.parse().unwrap()).is_err());
    }
}
