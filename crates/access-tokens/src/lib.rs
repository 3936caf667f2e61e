#![doc = include_str!("../README.md")]
#![warn(missing_docs)]

mod claims;
mod demands;
mod key_id;
mod public_keys;
mod revocations;
mod scope;
mod verifier;
mod verify;

pub use claims::{ACCESS, AccessClaims, MAX_TTL};
pub use demands::{Demands, Unmet};
pub use key_id::KeyId;
pub use public_keys::{NotThatKey, PublicKey, PublicKeys};
pub use revocations::{Revocation, RevocationSet, RevocationTarget};
pub use scope::{TokenScope, WrongScope};
pub use verifier::{SeenToken, TokenVerifier};
pub use verify::{MAX_TOKEN_BYTES, TokenRejection, footer_for, verify};
