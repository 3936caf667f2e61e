use std::{fs, path::Path, sync::Arc, time::Duration};

use clock::{Clock, SystemClock};
use rustls::{RootCertStore, crypto::ring, server::WebPkiClientVerifier, sign::CertifiedKey};
use rustls_pki_types::{CertificateDer, PrivateKeyDer, UnixTime, pem::PemObject};
use service_channel::TlsIdentity;

use crate::{Problems, encryption::Encryption, grpc::Caller, settings::TransportSettings};

/// How gRPC travels between services.
#[derive(Debug, Clone)]
pub enum Transport {
    /// Unprotected: for development, or inside a mesh that protects it.
    Plaintext,
    /// TLS in which both sides prove who they are.
    MutualTls(TlsIdentity),
}

/// Why an identity cannot be used. The variable that named the offending file is in the message's beginning.
#[derive(Debug, thiserror::Error)]
pub(crate) enum IdentityError {
    #[error("holds no certificate in PEM form")]
    NoAuthority,
    #[error("holds no certificate in PEM form")]
    NoCertificate,
    #[error("holds no private key in PEM form")]
    NoKey,
    #[error("does not belong to the certificate in TLS_CERT")]
    KeyMismatch,
    #[error("is not accepted by TLS_CA: {0}")]
    NotAccepted(String),
    #[error("has no URI SAN spiffe://feature-auth/<role>")]
    NoRole,
}

impl IdentityError {
    fn variable(&self) -> &'static str {
        match self {
            Self::NoAuthority => "TLS_CA",
            Self::NoCertificate | Self::NotAccepted(_) | Self::NoRole => "TLS_CERT",
            Self::NoKey | Self::KeyMismatch => "TLS_KEY",
        }
    }
}

impl Transport {
    pub(crate) fn parse(
        settings: &TransportSettings,
        encryption: Encryption,
        problems: &mut Problems,
    ) -> Self {
        let plaintext = problems.parse_bool("GRPC_PLAINTEXT", &settings.grpc_plaintext).unwrap_or_default();
        let paths =
            [&settings.tls_ca, &settings.tls_cert, &settings.tls_key].map(|path| given_path(path.as_deref()));
        if plaintext {
            if encryption == Encryption::Required {
                problems.add("GRPC_PLAINTEXT", "is refused in production unless SERVICE_MESH_TLS is true");
            }
            if paths.iter().any(Option::is_some) {
                problems.add("GRPC_PLAINTEXT", "contradicts TLS_CA, TLS_CERT and TLS_KEY");
            }
            return Self::Plaintext;
        }
        let [ca, certificate, key] = paths;
        let ca = read("TLS_CA", ca, problems);
        let certificate = read("TLS_CERT", certificate, problems);
        let key = read("TLS_KEY", key, problems);
        let (Some(ca), Some(certificate), Some(key)) = (ca, certificate, key) else { return Self::Plaintext };
        let identity = TlsIdentity { ca, certificate, key };
        if let Err(error) = check(&identity) {
            problems.add(error.variable(), error);
        }
        Self::MutualTls(identity)
    }
}

/// Whether both sides of a connection could use it now; returns who it is.
pub(crate) fn check(identity: &TlsIdentity) -> Result<Caller, IdentityError> {
    let mut roots = RootCertStore::empty();
    roots.add_parsable_certificates(certificates(&identity.ca));
    if roots.is_empty() {
        return Err(IdentityError::NoAuthority);
    }
    let chain = certificates(&identity.certificate);
    let Some((leaf, intermediates)) = chain.split_first() else {
        return Err(IdentityError::NoCertificate);
    };
    let key = PrivateKeyDer::from_pem_slice(&identity.key).map_err(|_| IdentityError::NoKey)?;
    let provider = Arc::new(ring::default_provider());
    CertifiedKey::from_der(chain.clone(), key, &provider).map_err(|_| IdentityError::KeyMismatch)?;
    WebPkiClientVerifier::builder_with_provider(Arc::new(roots), provider)
        .build()
        .map_err(|error| IdentityError::NotAccepted(error.to_string()))?
        .verify_client_cert(leaf, intermediates, now())
        .map_err(|error| IdentityError::NotAccepted(error.to_string()))?;
    let caller = Caller::from_certificate(leaf);
    if caller.role().is_none() { Err(IdentityError::NoRole) } else { Ok(caller) }
}

fn given_path(path: Option<&Path>) -> Option<&Path> {
    path.filter(|path| !path.as_os_str().is_empty())
}

fn read(variable: &str, path: Option<&Path>, problems: &mut Problems) -> Option<Vec<u8>> {
    let Some(path) = path else {
        problems.add(variable, "is required (or GRPC_PLAINTEXT=true in development)");
        return None;
    };
    match fs::read(path) {
        Ok(content) => Some(content),
        Err(error) => {
            problems.add(variable, format_args!("cannot be read from {}: {error}", path.display()));
            None
        }
    }
}

fn certificates(pem: &[u8]) -> Vec<CertificateDer<'static>> {
    CertificateDer::pem_slice_iter(pem).filter_map(Result::ok).collect()
}

fn now() -> UnixTime {
    let seconds = u64::try_from(SystemClock.now().timestamp()).unwrap_or_default();
    UnixTime::since_unix_epoch(Duration::from_secs(seconds))
}

#[cfg(test)]
mod tests {
    use rcgen::{
        BasicConstraints, CertificateParams, CertifiedIssuer, IsCa, KeyPair, SanType, date_time_ymd,
    };

    use super::*;
    use crate::Environment;

    fn authority() -> CertifiedIssuer<'static, KeyPair> {
        let mut parameters = CertificateParams::default();
        parameters.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        CertifiedIssuer::self_signed(parameters, KeyPair::generate().unwrap()).unwrap()
    }

    fn identity(
        authority: &CertifiedIssuer<'static, KeyPair>,
        uri: &str,
        adjust: impl FnOnce(&mut CertificateParams),
    ) -> TlsIdentity {
        let key = KeyPair::generate().unwrap();
        let mut parameters = CertificateParams::default();
        parameters.subject_alt_names.push(SanType::URI(uri.try_into().unwrap()));
        adjust(&mut parameters);
        TlsIdentity {
            ca: authority.pem().into_bytes(),
            certificate: parameters.signed_by(&key, authority).unwrap().pem().into_bytes(),
            key: key.serialize_pem().into_bytes(),
        }
    }

    fn problem(identity: &TlsIdentity) -> String {
        let error = check(identity).unwrap_err();
        format!("{} {error}", error.variable())
    }

    #[test]
    fn an_identity_is_checked_before_it_is_used() {
        const MAILER: &str = "spiffe://feature-auth/mailer";
        let (ours, other) = (authority(), authority());
        let good = identity(&ours, MAILER, |_| {});
        assert_eq!(check(&good).unwrap().name(), "mailer");

        let expired = identity(&ours, MAILER, |parameters| parameters.not_after = date_time_ymd(2001, 1, 1));
        assert!(
            problem(&expired).starts_with("TLS_CERT is not accepted by TLS_CA: "),
            "{}",
            problem(&expired)
        );
        let foreign = TlsIdentity { ca: other.pem().into_bytes(), ..good.clone() };
        assert!(
            problem(&foreign).starts_with("TLS_CERT is not accepted by TLS_CA: "),
            "{}",
            problem(&foreign)
        );
        let swapped = TlsIdentity { key: identity(&ours, MAILER, |_| {}).key, ..good.clone() };
        assert_eq!(problem(&swapped), "TLS_KEY does not belong to the certificate in TLS_CERT");
        let nobody = identity(&ours, "https://feature-auth/mailer", |_| {});
        assert_eq!(problem(&nobody), "TLS_CERT has no URI SAN spiffe://feature-auth/<role>");
        assert_eq!(
            problem(&TlsIdentity { ca: Vec::new(), ..good.clone() }),
            "TLS_CA holds no certificate in PEM form"
        );
        assert_eq!(
            problem(&TlsIdentity { key: Vec::new(), ..good }),
            "TLS_KEY holds no private key in PEM form"
        );
    }

    #[test]
    fn plaintext_needs_development_or_a_mesh() {
        let parse = |environment, mesh: &str| {
            let settings = TransportSettings {
                tls_ca: None,
                tls_cert: None,
                tls_key: None,
                grpc_plaintext: "true".to_owned(),
                service_mesh_tls: mesh.to_owned(),
            };
            let mut problems = Problems::new();
            let encryption = Encryption::parse(&settings, environment, &mut problems);
            Transport::parse(&settings, encryption, &mut problems);
            problems.to_string()
        };
        assert_eq!(parse(Environment::Development, "false"), "");
        assert_eq!(parse(Environment::Production, "true"), "");
        assert!(parse(Environment::Production, "false").contains("GRPC_PLAINTEXT is refused in production"));
    }
}
