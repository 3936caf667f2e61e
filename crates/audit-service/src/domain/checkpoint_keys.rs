use std::{collections::HashMap, fmt, sync::Arc};

use base64::prelude::*;
use clock::random_bytes;
use ed25519_compact::{KeyPair, PublicKey, Seed, Signature};
use sha2::{Digest, Sha256};
use zeroize::Zeroizing;

/// The key that signs checkpoints, which must not be where the log is, and the public halves that verify them.
#[derive(Clone, Default)]
pub struct CheckpointKeys {
    signing: Option<Arc<(String, KeyPair)>>,
    /// By id.
    verifying: HashMap<String, PublicKey>,
}

/// Why a key was not understood. The text never contains the key.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum CheckpointKeyInvalid {
    #[error("is not 32 bytes in unpadded URL-safe base64")]
    NotAKey,
    #[error("is not an Ed25519 key")]
    WeakKey,
}

impl CheckpointKeys {
    /// From the private key, if this process is to sign, and public ones that verify what was signed before.
    pub fn parse(private: Option<&str>, public: &[&str]) -> Result<Self, CheckpointKeyInvalid> {
        let mut keys = Self::default();
        for public in public {
            let key = PublicKey::new(*decode(public)?);
            keys.verifying.insert(id(&key), key);
        }
        if let Some(private) = private {
            keys.set_signing(&*decode(private)?)?;
        }
        Ok(keys)
    }

    /// A new private key, encoded for [`CheckpointKeys::parse`].
    #[must_use]
    pub fn new_private_key() -> Zeroizing<String> {
        let seed: Zeroizing<[u8; 32]> = Zeroizing::new(random_bytes(&mut clock::secure_rng()));
        Zeroizing::new(BASE64_URL_SAFE_NO_PAD.encode(seed.as_slice()))
    }

    /// A new key, for tests.
    ///
    /// # Panics
    /// Never: 32 random bytes are a seed.
    #[must_use]
    #[expect(clippy::expect_used, reason = "see the panics section")]
    pub fn generate() -> Self {
        Self::parse(Some(&Self::new_private_key()), &[]).expect("random bytes are a seed")
    }

    fn set_signing(&mut self, seed: &[u8; 32]) -> Result<(), CheckpointKeyInvalid> {
        let pair = KeyPair::try_from_seed(Seed::new(*seed)).map_err(|_| CheckpointKeyInvalid::WeakKey)?;
        let id = id(&pair.pk);
        self.verifying.insert(id.clone(), pair.pk);
        self.signing = Some(Arc::new((id, pair)));
        Ok(())
    }

    /// The id of the key that signs, if one does.
    #[must_use]
    pub fn signing_id(&self) -> Option<&str> {
        self.signing.as_ref().map(|signing| signing.0.as_str())
    }

    /// Id and public half of every key, encoded for [`CheckpointKeys::parse`].
    #[must_use]
    pub fn public_keys(&self) -> Vec<(String, String)> {
        let mut keys: Vec<_> = self
            .verifying
            .iter()
            .map(|(id, key)| (id.clone(), BASE64_URL_SAFE_NO_PAD.encode(key.as_ref())))
            .collect();
        keys.sort();
        keys
    }

    pub(super) fn sign(&self, message: &[u8]) -> Option<Vec<u8>> {
        let signing = self.signing.as_ref()?;
        Some(signing.1.sk.sign(message, None).to_vec())
    }

    pub(super) fn verify(&self, key_id: &str, message: &[u8], signature: &[u8]) -> bool {
        let key = self.verifying.get(key_id);
        key.zip(Signature::from_slice(signature).ok())
            .is_some_and(|(key, signature)| key.verify(message, &signature).is_ok())
    }
}

/// By which a checkpoint names the key that signed it: the beginning of the public key's SHA-256.
fn id(key: &PublicKey) -> String {
    let digest = Sha256::digest(key.as_ref());
    BASE64_URL_SAFE_NO_PAD.encode(digest.get(..9).unwrap_or_default())
}

fn decode(text: &str) -> Result<Zeroizing<[u8; 32]>, CheckpointKeyInvalid> {
    let bytes = Zeroizing::new(
        BASE64_URL_SAFE_NO_PAD.decode(text.trim()).map_err(|_| CheckpointKeyInvalid::NotAKey)?,
    );
    let bytes: [u8; 32] = bytes.as_slice().try_into().map_err(|_| CheckpointKeyInvalid::NotAKey)?;
    Ok(Zeroizing::new(bytes))
}

impl fmt::Debug for CheckpointKeys {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_list().entries(self.verifying.keys()).finish()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_public_half_verifies_what_the_private_one_signed_and_signs_nothing() {
        let signing = CheckpointKeys::generate();
        let public = signing.public_keys();
        let verifying = CheckpointKeys::parse(None, &[&public[0].1]).unwrap();
        let signature = signing.sign(b"message").unwrap();
        assert!(verifying.verify(&public[0].0, b"message", &signature));
        assert!(!verifying.verify(&public[0].0, b"massage", &signature));
        assert!(!verifying.verify("another", b"message", &signature));
        assert_eq!(verifying.sign(b"message"), None);
    }

    #[test]
    fn a_bad_key_is_refused_without_telling_it() {
        let error = CheckpointKeys::parse(Some("hunter2"), &[]).unwrap_err();
        assert_eq!(error, CheckpointKeyInvalid::NotAKey);
        assert!(!format!("{:?}", CheckpointKeys::generate()).contains("seed"));
    }
}
