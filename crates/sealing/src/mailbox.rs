use std::{fmt, sync::Arc};

use base64::prelude::*;
use clock::{CryptoRng, random_bytes};
use hpke::{
    Deserializable, Kem, OpModeR, OpModeS, Serializable, aead::ChaCha20Poly1305, kdf::HkdfSha256,
    kem::X25519HkdfSha256, single_shot_open, single_shot_seal_with_rng,
};
use zeroize::Zeroizing;

use crate::{KeyError, OpenError, decode_key};

type Suite = X25519HkdfSha256;
/// Domain separation: HPKE's `info`.
const INFO: &[u8] = b"feature-auth mailbox v1";
/// An encapsulated X25519 key (RFC 9180, section 7.1).
const ENCAPSULATED_BYTES: usize = 32;

/// The half of a mailbox key that seals.
#[derive(Clone)]
pub struct MailboxPublicKey(<Suite as Kem>::PublicKey);

/// The half of a mailbox key that opens.
#[derive(Clone)]
pub struct MailboxPrivateKey(Arc<<Suite as Kem>::PrivateKey>);

impl MailboxPublicKey {
    /// Reads a public key: 32 bytes in unpadded URL-safe base64.
    pub fn parse(text: &str) -> Result<Self, KeyError> {
        let bytes = decode_key("public", text.trim())?;
        <Suite as Kem>::PublicKey::from_bytes(&*bytes)
            .map(Self)
            .map_err(|_| KeyError::NotAKey("public".to_owned()))
    }

    /// Seals `plaintext` so that it opens only with the same `associated_data`: the encapsulated key and the ciphertext.
    ///
    /// # Panics
    /// Never: encapsulation fails only for an all-zero shared secret, which a valid public key does not give.
    #[expect(clippy::expect_used, reason = "see the panics section")]
    pub fn seal(
        &self,
        plaintext: &[u8],
        associated_data: &[u8],
        rng: &mut (impl CryptoRng + ?Sized),
    ) -> Vec<u8> {
        let mut rng = rng;
        let (encapsulated, ciphertext) = single_shot_seal_with_rng::<ChaCha20Poly1305, HkdfSha256, Suite>(
            &OpModeS::Base,
            &self.0,
            INFO,
            plaintext,
            associated_data,
            &mut rng,
        )
        .expect("a valid public key can always be sealed to");
        [encapsulated.to_bytes().as_slice(), &ciphertext].concat()
    }
}

impl MailboxPrivateKey {
    /// Reads a private key: 32 bytes in unpadded URL-safe base64.
    pub fn parse(text: &str) -> Result<Self, KeyError> {
        let bytes = decode_key("private", text.trim())?;
        <Suite as Kem>::PrivateKey::from_bytes(&*bytes)
            .map(|key| Self(Arc::new(key)))
            .map_err(|_| KeyError::NotAKey("private".to_owned()))
    }

    /// A new private key, encoded for [`MailboxPrivateKey::parse`], and its public key, encoded for [`MailboxPublicKey::parse`].
    pub fn generate(rng: &mut (impl CryptoRng + ?Sized)) -> (Zeroizing<String>, String) {
        let seed: Zeroizing<[u8; 32]> = Zeroizing::new(random_bytes(rng));
        let (private, public) = Suite::derive_keypair(&*seed);
        let private_bytes = Zeroizing::new(private.to_bytes().to_vec());
        let encoded = Zeroizing::new(BASE64_URL_SAFE_NO_PAD.encode(&*private_bytes));
        (encoded, BASE64_URL_SAFE_NO_PAD.encode(public.to_bytes()))
    }

    /// The half that seals.
    #[must_use]
    pub fn public(&self) -> MailboxPublicKey {
        MailboxPublicKey(Suite::sk_to_pk(&self.0))
    }

    /// Opens a value that was sealed to the matching public key.
    pub fn open(&self, sealed: &[u8], associated_data: &[u8]) -> Result<Zeroizing<Vec<u8>>, OpenError> {
        let (encapsulated, ciphertext) = sealed.split_first_chunk::<ENCAPSULATED_BYTES>().ok_or(OpenError)?;
        let encapsulated = <Suite as Kem>::EncappedKey::from_bytes(encapsulated).map_err(|_| OpenError)?;
        single_shot_open::<ChaCha20Poly1305, HkdfSha256, Suite>(
            &OpModeR::Base,
            &self.0,
            &encapsulated,
            INFO,
            ciphertext,
            associated_data,
        )
        .map(Zeroizing::new)
        .map_err(|_| OpenError)
    }
}

impl fmt::Debug for MailboxPublicKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("MailboxPublicKey")
    }
}

impl fmt::Debug for MailboxPrivateKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("MailboxPrivateKey")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_private_key_opens_and_only_with_the_same_binding() {
        let mut rng = clock::secure_rng();
        let (private, public) = MailboxPrivateKey::generate(&mut rng);
        let (other, _) = MailboxPrivateKey::generate(&mut rng);
        let sealed = MailboxPublicKey::parse(&public).unwrap().seal(b"link", b"event 1", &mut rng);
        let private = MailboxPrivateKey::parse(&private).unwrap();
        assert_eq!(*private.open(&sealed, b"event 1").unwrap(), b"link");
        assert!(private.open(&sealed, b"event 2").is_err());
        assert!(MailboxPrivateKey::parse(&other).unwrap().open(&sealed, b"event 1").is_err());
        assert!(private.open(&sealed[..31], b"event 1").is_err());
    }
}
