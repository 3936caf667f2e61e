#![doc = include_str!("../README.md")]
#![warn(missing_docs)]

mod asking;
mod channel;
mod config;
mod error;
mod judge;
mod lease;
mod messages;
mod metrics;
mod session;
mod sightings;
mod verifier;
mod watch;

#[cfg(feature = "actix")]
pub mod actix;
#[cfg(any(feature = "actix", feature = "tower"))]
mod refusal;
#[cfg(any(feature = "actix", feature = "tower"))]
mod requirements;
#[cfg(feature = "tower")]
pub mod tower;

pub use access_tokens::{Demands, PublicKey, PublicKeys};
pub use config::{ConnectError, VerifierConfig};
pub use error::{Forbidden, VerifyError};
pub use service_channel::TlsIdentity;
pub use session::Session;
pub use verifier::Verifier;
