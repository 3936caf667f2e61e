//! A certificate authority for development and tests, and the identities that it issues.

use std::{
    fmt,
    net::{IpAddr, Ipv4Addr},
    path::Path,
};

use anyhow::Context;
use chrono::{DateTime, Datelike, TimeDelta, Utc};
use clock::{Clock, SystemClock};
use rcgen::{
    BasicConstraints, CertificateParams, DnType, ExtendedKeyUsagePurpose, IsCa, Issuer, KeyPair,
    KeyUsagePurpose, SanType,
};

use crate::private_file;

const CA_LIFETIME: TimeDelta = TimeDelta::days(3650);
/// Issued anew at each start, and a stack that runs for a year has other problems.
const LEAF_LIFETIME: TimeDelta = TimeDelta::days(365);

/// A development CA. Its leaves carry a SPIFFE URI SAN, the DNS name `localhost` and the address 127.0.0.1.
pub struct DevelopmentCa {
    pem: String,
    issuer: Issuer<'static, KeyPair>,
}

/// A certificate and its key, as PEM.
#[derive(Clone)]
pub struct Leaf {
    /// The certificate.
    pub cert_pem: String,
    /// Its private key, PKCS #8.
    pub key_pem: String,
}

impl DevelopmentCa {
    /// A new CA that lives in memory.
    pub fn generate() -> anyhow::Result<Self> {
        let key = KeyPair::generate()?;
        let pem = authority()?.self_signed(&key)?.pem();
        Ok(Self { pem, issuer: Issuer::new(authority()?, key) })
    }

    /// The CA whose `ca.pem` and `ca.key` are in `dir`, made at first use.
    pub fn load_or_generate(dir: &Path) -> anyhow::Result<Self> {
        let (certificate, key) = (dir.join("ca.pem"), dir.join("ca.key"));
        if let (Ok(pem), Ok(key)) = (std::fs::read_to_string(&certificate), std::fs::read_to_string(&key)) {
            let key =
                KeyPair::from_pem(&key).context("the development CA's key is damaged: remove ca.key")?;
            return Ok(Self { pem, issuer: Issuer::new(authority()?, key) });
        }
        let ca = Self::generate()?;
        // The key last: an interruption in between leaves a certificate alone, which the next start replaces.
        private_file::remove(&key)?;
        private_file::write(&certificate, &ca.pem)?;
        private_file::write(&key, &ca.issuer.key().serialize_pem())?;
        Ok(ca)
    }

    /// The CA's own certificate.
    #[must_use]
    pub fn ca_pem(&self) -> String {
        self.pem.clone()
    }

    /// Issues an identity for `spiffe://feature-auth/<role_path>`, such as `auth-api` or `internal/demo`.
    pub fn issue(&self, role_path: &str) -> anyhow::Result<Leaf> {
        let mut params = CertificateParams::new(vec!["localhost".to_owned()])?;
        params.subject_alt_names.push(SanType::IpAddress(IpAddr::V4(Ipv4Addr::LOCALHOST)));
        params.subject_alt_names.push(SanType::URI(format!("spiffe://feature-auth/{role_path}").try_into()?));
        params.distinguished_name.remove(DnType::CommonName);
        params.distinguished_name.push(DnType::CommonName, role_path);
        params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
        params.extended_key_usages =
            vec![ExtendedKeyUsagePurpose::ServerAuth, ExtendedKeyUsagePurpose::ClientAuth];
        params.use_authority_key_identifier_extension = true;
        valid_for(&mut params, LEAF_LIFETIME)?;
        let key = KeyPair::generate()?;
        let certificate = params.signed_by(&key, &self.issuer)?;
        Ok(Leaf { cert_pem: certificate.pem(), key_pem: key.serialize_pem() })
    }
}

/// Everything of the CA but its key: the same at each start, so that a stored key goes on issuing.
fn authority() -> anyhow::Result<CertificateParams> {
    let mut params = CertificateParams::default();
    params.distinguished_name.remove(DnType::CommonName);
    params.distinguished_name.push(DnType::CommonName, "Feature Auth development CA");
    params.is_ca = IsCa::Ca(BasicConstraints::Constrained(0));
    params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
    valid_for(&mut params, CA_LIFETIME)?;
    Ok(params)
}

/// From yesterday, because clocks differ.
fn valid_for(params: &mut CertificateParams, lifetime: TimeDelta) -> anyhow::Result<()> {
    let date = |at: DateTime<Utc>| -> anyhow::Result<_> {
        Ok(rcgen::date_time_ymd(at.year(), u8::try_from(at.month())?, u8::try_from(at.day())?))
    };
    let now = SystemClock.now();
    params.not_before = date(now - TimeDelta::days(1))?;
    params.not_after = date(now + lifetime)?;
    Ok(())
}

impl fmt::Debug for DevelopmentCa {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("DevelopmentCa")
    }
}

impl fmt::Debug for Leaf {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Leaf")
    }
}
