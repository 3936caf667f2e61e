#![doc = include_str!("../README.md")]
#![warn(missing_docs)]

mod data_key;
mod key_ring;
mod mailbox;

pub use data_key::DataKey;
pub use key_ring::KeyRing;
pub use mailbox::{MailboxPrivateKey, MailboxPublicKey};

/// Why a key was not understood. The text never contains the key.
#[derive(Debug, thiserror::Error)]
pub enum KeyError {
    /// There is no key.
    #[error("no key is given")]
    Empty,
    /// A key is not 32 bytes of unpadded URL-safe base64.
    #[error("key {0} is not 32 bytes in unpadded URL-safe base64")]
    NotAKey(String),
    /// A key has no name, an overlong one, or one that another key has.
    #[error("key {0} needs a name of its own, 1 to 16 ASCII letters, digits or dashes, before a colon")]
    BadName(usize),
}

/// The sealed bytes are not ours, were changed, belong elsewhere, or their key is gone.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the sealed value cannot be opened")]
pub struct OpenError;

fn decode_key(name: &str, encoded: &str) -> Result<zeroize::Zeroizing<[u8; 32]>, KeyError> {
    use base64::prelude::*;
    let not_a_key = || KeyError::NotAKey(name.to_owned());
    let bytes = zeroize::Zeroizing::new(BASE64_URL_SAFE_NO_PAD.decode(encoded).map_err(|_| not_a_key())?);
    let key: [u8; 32] = bytes.as_slice().try_into().map_err(|_| not_a_key())?;
    Ok(zeroize::Zeroizing::new(key))
}
