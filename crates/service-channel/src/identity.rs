use std::fmt;

/// A certificate with its key, and the authority that the other side's certificate must come from; all PEM.
#[derive(Clone)]
pub struct TlsIdentity {
    /// The authority's certificates.
    pub ca: Vec<u8>,
    /// Our chain, the leaf first.
    pub certificate: Vec<u8>,
    /// The leaf's private key.
    pub key: Vec<u8>,
}

impl TlsIdentity {
    /// `certificate` is the chain, the leaf first; `key` belongs to the leaf.
    #[must_use]
    pub fn from_pem(
        ca: impl Into<Vec<u8>>,
        certificate: impl Into<Vec<u8>>,
        key: impl Into<Vec<u8>>,
    ) -> Self {
        Self { ca: ca.into(), certificate: certificate.into(), key: key.into() }
    }
}

impl fmt::Debug for TlsIdentity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("TlsIdentity").finish_non_exhaustive()
    }
}
