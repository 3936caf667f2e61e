use std::fmt;

use chacha20poly1305::{
    KeyInit, XChaCha20Poly1305, XNonce,
    aead::{Aead, Payload},
};
use clock::{CryptoRng, random_bytes};
use zeroize::Zeroizing;

use crate::{KeyRing, OpenError};

const FORMAT: u8 = 1;
const NONCE_BYTES: usize = 24;

/// A key for the data of one owner, itself stored sealed by a [`KeyRing`]: who deletes the sealed key deletes the data.
///
/// A sealed value is `1 || nonce (24) || ciphertext and tag`.
#[derive(Clone)]
pub struct DataKey(Zeroizing<[u8; 32]>);

impl DataKey {
    /// A new key.
    pub fn generate(rng: &mut (impl CryptoRng + ?Sized)) -> Self {
        Self(Zeroizing::new(random_bytes(rng)))
    }

    /// The key as it is stored.
    pub fn seal_with(
        &self,
        keys: &KeyRing,
        associated_data: &[u8],
        rng: &mut (impl CryptoRng + ?Sized),
    ) -> Vec<u8> {
        keys.seal(&*self.0, associated_data, rng)
    }

    /// The stored key.
    pub fn open_with(keys: &KeyRing, sealed: &[u8], associated_data: &[u8]) -> Result<Self, OpenError> {
        let bytes = keys.open(sealed, associated_data)?;
        bytes.as_slice().try_into().map(|bytes| Self(Zeroizing::new(bytes))).map_err(|_| OpenError)
    }

    /// The bytes, for a keyed hash.
    #[must_use]
    pub fn expose(&self) -> &[u8; 32] {
        &self.0
    }

    /// Seals `plaintext` so that it opens only with the same `associated_data`.
    ///
    /// # Panics
    /// Never: a value of this size can always be sealed.
    #[expect(clippy::expect_used, reason = "XChaCha20-Poly1305 fails only above 256 GiB")]
    pub fn seal(
        &self,
        plaintext: &[u8],
        associated_data: &[u8],
        rng: &mut (impl CryptoRng + ?Sized),
    ) -> Vec<u8> {
        let nonce: [u8; NONCE_BYTES] = random_bytes(rng);
        let payload = Payload { msg: plaintext, aad: associated_data };
        let ciphertext = self.cipher().encrypt(&XNonce::from(nonce), payload).expect("the value is small");
        [&[FORMAT], nonce.as_slice(), &ciphertext].concat()
    }

    /// Opens a sealed value.
    pub fn open(&self, sealed: &[u8], associated_data: &[u8]) -> Result<Zeroizing<Vec<u8>>, OpenError> {
        let (&[format], rest) = sealed.split_first_chunk::<1>().ok_or(OpenError)?;
        let (nonce, ciphertext) = rest.split_first_chunk::<NONCE_BYTES>().ok_or(OpenError)?;
        if format != FORMAT {
            return Err(OpenError);
        }
        let payload = Payload { msg: ciphertext, aad: associated_data };
        let opened = self.cipher().decrypt(&XNonce::from(*nonce), payload);
        opened.map(Zeroizing::new).map_err(|_| OpenError)
    }

    fn cipher(&self) -> XChaCha20Poly1305 {
        XChaCha20Poly1305::new((&*self.0).into())
    }
}

impl fmt::Debug for DataKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("DataKey")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_stored_key_opens_what_it_sealed_and_nothing_that_was_changed() {
        let keys = KeyRing::parse("k1:AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8").unwrap();
        let mut rng = clock::secure_rng();
        let key = DataKey::generate(&mut rng);
        let stored = key.seal_with(&keys, b"owner", &mut rng);
        let sealed = key.seal(b"value", b"row", &mut rng);
        let opened = DataKey::open_with(&keys, &stored, b"owner").unwrap();
        assert_eq!(*opened.open(&sealed, b"row").unwrap(), b"value");
        assert!(DataKey::open_with(&keys, &stored, b"other").is_err());
        assert!(opened.open(&sealed, b"other").is_err());
        for index in 0..sealed.len() {
            let mut changed = sealed.clone();
            changed[index] ^= 1;
            assert!(opened.open(&changed, b"row").is_err(), "byte {index}");
            assert!(opened.open(&sealed[..index], b"row").is_err(), "cut at {index}");
        }
    }
}
