use std::{
    net::{IpAddr, Ipv4Addr},
    sync::{Arc, LazyLock},
};

use rcgen::{BasicConstraints, CertificateParams, DnType, IsCa, Issuer, KeyPair, KeyUsagePurpose, SanType};
use rustls::{
    ServerConfig,
    pki_types::{PrivateKeyDer, PrivatePkcs8KeyDer},
};
use tokio_rustls::TlsAcceptor;

use crate::servers::install_crypto_provider;

/// What a server proves itself with.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Certificate {
    /// For `localhost` and 127.0.0.1, by the CA of [`ca_pem`].
    Good,
    /// By that CA, for another host.
    OtherHost,
    /// For the right host, by nobody.
    SelfSigned,
    /// By that CA, for the right host, years ago.
    Expired,
}

static CA: LazyLock<(String, Issuer<'static, KeyPair>)> = LazyLock::new(|| {
    let key = KeyPair::generate().expect("a key");
    let mut params = CertificateParams::default();
    params.distinguished_name.push(DnType::CommonName, "Test mail CA");
    params.is_ca = IsCa::Ca(BasicConstraints::Constrained(0));
    params.key_usages = vec![KeyUsagePurpose::KeyCertSign];
    let pem = params.self_signed(&key).expect("a certificate").pem();
    (pem, Issuer::new(params, key))
});

/// The authority that issues the good certificates of every server of this process.
#[must_use]
pub fn ca_pem() -> String {
    CA.0.clone()
}

impl Certificate {
    pub(super) fn acceptor(self) -> TlsAcceptor {
        install_crypto_provider();
        let name = if self == Self::OtherHost { "mail.other.example" } else { "localhost" };
        let mut params = CertificateParams::new(vec![name.to_owned()]).expect("a name");
        if self != Self::OtherHost {
            params.subject_alt_names.push(SanType::IpAddress(IpAddr::V4(Ipv4Addr::LOCALHOST)));
        }
        if self == Self::Expired {
            params.not_before = rcgen::date_time_ymd(2020, 1, 1);
            params.not_after = rcgen::date_time_ymd(2021, 1, 1);
        }
        let key = KeyPair::generate().expect("a key");
        let certificate = match self {
            Self::SelfSigned => params.self_signed(&key),
            _ => params.signed_by(&key, &CA.1),
        };
        let certificate = certificate.expect("a certificate").der().clone();
        let key = PrivateKeyDer::from(PrivatePkcs8KeyDer::from(key.serialize_der()));
        let config = ServerConfig::builder()
            .with_no_client_auth()
            .with_single_cert(vec![certificate], key)
            .expect("a certificate that fits its key");
        TlsAcceptor::from(Arc::new(config))
    }
}
