use std::sync::Arc;

use rustls_pki_types::CertificateDer;
use x509_parser::{extensions::GeneralName, parse_x509_certificate};

/// What every identity of the platform begins with.
const TRUST_DOMAIN: &str = "spiffe://feature-auth/";

/// Who calls, from the URI SAN of the client's certificate; in the extensions of every request.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Caller(Identity);

#[derive(Debug, Clone, PartialEq, Eq)]
enum Identity {
    /// The transport is plaintext.
    Unverified,
    /// Over TLS, but without a certificate that names a role of ours.
    Unknown,
    /// `<role>` or `<role>/<name>`.
    Known(Arc<str>),
}

impl Caller {
    /// A caller that proved nothing, because the transport is plaintext.
    #[must_use]
    pub fn unverified() -> Self {
        Self(Identity::Unverified)
    }

    /// The caller of a TLS connection whose verified chain begins with `leaf`.
    pub(super) fn over_tls(leaf: Option<&CertificateDer<'_>>) -> Self {
        leaf.map_or(Self(Identity::Unknown), Self::from_certificate)
    }

    /// The caller of a verified certificate. One that names several identities, or none that we understand, has no role.
    pub(crate) fn from_certificate(certificate: &CertificateDer<'_>) -> Self {
        let Ok((_, certificate)) = parse_x509_certificate(certificate) else {
            return Self(Identity::Unknown);
        };
        let Ok(Some(names)) = certificate.subject_alternative_name() else { return Self(Identity::Unknown) };
        let mut uris = names.value.general_names.iter().filter_map(|name| match name {
            GeneralName::URI(uri) => Some(*uri),
            _ => None,
        });
        match (uris.next(), uris.next()) {
            (Some(uri), None) => Self::from_uri(uri),
            _ => Self(Identity::Unknown),
        }
    }

    fn from_uri(uri: &str) -> Self {
        let is_name = |part: &str| {
            !part.is_empty()
                && part.bytes().all(|byte| matches!(byte, b'a'..=b'z' | b'0'..=b'9' | b'-' | b'_' | b'.'))
        };
        match uri.strip_prefix(TRUST_DOMAIN) {
            Some(path) if path.splitn(3, '/').all(is_name) && path.matches('/').count() < 2 => {
                Self(Identity::Known(path.into()))
            }
            _ => Self(Identity::Unknown),
        }
    }

    /// The role; `None` for an unverified caller, and for one without a certificate that names a role of ours.
    #[must_use]
    pub fn role(&self) -> Option<&str> {
        match &self.0 {
            Identity::Known(path) => path.split('/').next(),
            Identity::Unverified | Identity::Unknown => None,
        }
    }

    /// For logs and the audit trail: `internal/demo`, `unverified` or `unknown`.
    #[must_use]
    pub fn name(&self) -> String {
        self.as_str().to_owned()
    }

    pub(crate) fn as_str(&self) -> &str {
        match &self.0 {
            Identity::Known(path) => path,
            Identity::Unverified => "unverified",
            Identity::Unknown => "unknown",
        }
    }

    pub(crate) fn is_unverified(&self) -> bool {
        self.0 == Identity::Unverified
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_role_is_the_first_part_of_the_path() {
        let caller = Caller::from_uri("spiffe://feature-auth/internal/demo");
        assert_eq!((caller.role(), caller.name().as_str()), (Some("internal"), "internal/demo"));
        assert_eq!(Caller::from_uri("spiffe://feature-auth/auth-api").role(), Some("auth-api"));
        assert_eq!(Caller::unverified().role(), None);
    }

    #[test]
    fn what_is_not_exactly_an_identity_has_no_role() {
        for uri in [
            "spiffe://feature-auth",
            "spiffe://feature-auth/",
            "spiffe://feature-auth//demo",
            "spiffe://feature-auth/internal/",
            "spiffe://feature-auth/internal/a/b",
            "spiffe://feature-auth.evil/internal",
            "spiffe://Feature-Auth/internal",
            "spiffe://feature-auth/Internal",
            "https://feature-auth/internal",
        ] {
            assert_eq!(Caller::from_uri(uri).role(), None, "{uri}");
        }
    }
}
