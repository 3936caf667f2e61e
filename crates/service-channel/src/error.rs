/// Why there can be no channel, whatever the network does.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ChannelError {
    /// An `https` address and no identity.
    #[error("{0} needs a TLS identity; without one it must begin with http://")]
    IdentityMissing(String),
    /// An `http` address and an identity that nobody would see.
    #[error("{0} must begin with https://, because a TLS identity is given")]
    IdentityUnused(String),
    /// The identity is none.
    #[error("the TLS identity cannot be used")]
    Identity(#[from] IdentityError),
    /// An address names a host that no certificate or request could name.
    #[error("{0} is not an address of a gRPC service")]
    Address(String),
}

/// Why an identity cannot be used.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum IdentityError {
    /// The certificates or the key are no PEM.
    #[error(transparent)]
    Pem(#[from] rustls_pki_types::pem::Error),
    /// They do not belong together, or are of a kind that is not known.
    #[error(transparent)]
    Tls(#[from] rustls::Error),
}
