use std::{error::Error, fmt, time::Duration};

use clock::{SharedClock, SystemClock};
use prometheus::Registry;
use service_channel::TlsIdentity;

/// What a [`Verifier`](crate::Verifier) needs to know. Made with [`VerifierConfig::new`]; the fields may then be changed.
#[derive(Clone)]
#[non_exhaustive]
pub struct VerifierConfig {
    /// The replicas of session-service: one address (`https://host:port`) that resolves to all of them, or several with commas between them.
    pub addresses: String,
    /// Who issues the tokens (`iss`).
    pub issuer: String,
    /// For whom they are (`aud`).
    pub audience: String,
    /// `production` (the default) or `development`: tokens of the one are nothing to the other.
    pub environment: String,
    /// Who this service is. Required by `https` addresses, refused with `http` ones.
    pub identity: Option<TlsIdentity>,
    /// Whether something else protects the connections, so that `http` addresses are accepted in production.
    pub service_mesh_tls: bool,
    /// How many tokens are remembered, about 1 KiB each; 50 000 by default.
    pub capacity: usize,
    /// How long `connect` waits for session-service before it goes on without it; 2 s by default.
    pub first_contact: Duration,
    /// Where metrics are registered, if anywhere.
    pub registry: Option<Registry>,
    /// Tells whether tokens are expired; the system's clock by default.
    pub clock: SharedClock,
}

impl VerifierConfig {
    /// A configuration for production, without an identity yet.
    #[must_use]
    pub fn new(addresses: impl Into<String>, issuer: impl Into<String>, audience: impl Into<String>) -> Self {
        Self {
            addresses: addresses.into(),
            issuer: issuer.into(),
            audience: audience.into(),
            environment: "production".to_owned(),
            identity: None,
            service_mesh_tls: false,
            capacity: 50_000,
            first_contact: Duration::from_secs(2),
            registry: None,
            clock: std::sync::Arc::new(SystemClock),
        }
    }

    /// Whether it can work at all; the addresses and the identity are looked at when the channel is made.
    pub(crate) fn check(&self) -> Result<(), ConnectError> {
        if !matches!(self.environment.as_str(), "production" | "development") {
            return Err(ConnectError::Environment(self.environment.clone()));
        }
        if self.issuer.is_empty() || self.audience.is_empty() {
            return Err(ConnectError::Scope);
        }
        Ok(())
    }

    pub(crate) fn may_be_plaintext(&self) -> bool {
        self.service_mesh_tls || self.environment != "production"
    }
}

impl fmt::Debug for VerifierConfig {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("VerifierConfig")
            .field("addresses", &self.addresses)
            .field("issuer", &self.issuer)
            .field("audience", &self.audience)
            .field("environment", &self.environment)
            .field("identity", &self.identity)
            .finish_non_exhaustive()
    }
}

/// The configuration cannot work, whatever session-service says. That it is away is no such error.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ConnectError {
    /// There is no address at all.
    #[error("no address of session-service is given")]
    NoAddress,
    /// One of the addresses is none.
    #[error("{0:?} is not an address like https://host:port")]
    Address(String),
    /// Some addresses are `https` and some are `http`.
    #[error("all addresses of session-service must begin with the same scheme")]
    MixedSchemes,
    /// An `http` address in production, without a service mesh.
    #[error("{0} must begin with https:// in production, unless a service mesh protects connections")]
    PlaintextInProduction(String),
    /// An `https` address and no identity.
    #[error("{0} needs an identity: session-service wants to know who calls")]
    IdentityMissing(String),
    /// An `http` address and an identity that nobody would see.
    #[error("{0} must begin with https://, because an identity is given")]
    IdentityUnused(String),
    /// The PEM texts are none, or do not belong together.
    #[error("the identity cannot be used")]
    Identity(#[source] Box<dyn Error + Send + Sync>),
    /// There are two environments.
    #[error("{0:?} is neither production nor development")]
    Environment(String),
    /// Tokens of nobody or for nobody are not verified.
    #[error("issuer and audience must not be empty")]
    Scope,
    /// The registry has the metrics of a verifier already.
    #[error("the metrics cannot be registered")]
    Metrics(#[from] prometheus::Error),
}
