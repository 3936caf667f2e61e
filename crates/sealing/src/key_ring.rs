use std::fmt;

use chacha20poly1305::{
    KeyInit, XChaCha20Poly1305, XNonce,
    aead::{Aead, Payload},
};
use clock::{CryptoRng, random_bytes};
use zeroize::Zeroizing;

use crate::{KeyError, OpenError, decode_key};

const FORMAT: u8 = 1;
const NONCE_BYTES: usize = 24;

/// The keys that seal and open our own stored values.
///
/// A sealed value is `1 || len(name) || name || nonce (24) || ciphertext and tag`.
#[derive(Clone)]
pub struct KeyRing {
    /// The first key seals; all of them open.
    keys: Vec<(String, XChaCha20Poly1305)>,
}

impl KeyRing {
    /// Reads `name:key` pairs separated by commas or white space, the sealing key first. A key is 32 bytes in unpadded
    /// URL-safe base64; a name has 1 to 16 ASCII letters, digits or dashes.
    pub fn parse(text: &str) -> Result<Self, KeyError> {
        let mut keys: Vec<(String, XChaCha20Poly1305)> = Vec::new();
        let entries = text.split([',', ' ', '\t', '\r', '\n']).filter(|entry| !entry.is_empty());
        for (index, entry) in entries.enumerate() {
            let (name, encoded) = entry.split_once(':').ok_or(KeyError::BadName(index + 1))?;
            let well_formed = (1..=16).contains(&name.len())
                && name.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'-');
            if !well_formed || keys.iter().any(|(other, _)| other == name) {
                return Err(KeyError::BadName(index + 1));
            }
            let key = decode_key(name, encoded)?;
            keys.push((name.to_owned(), XChaCha20Poly1305::new((&*key).into())));
        }
        if keys.is_empty() { Err(KeyError::Empty) } else { Ok(Self { keys }) }
    }

    /// Seals `plaintext` so that it opens only with the same `associated_data`.
    ///
    /// # Panics
    /// Never: the ring is not empty and a value of this size can always be sealed.
    #[expect(clippy::expect_used, reason = "XChaCha20-Poly1305 fails only above 256 GiB")]
    pub fn seal(
        &self,
        plaintext: &[u8],
        associated_data: &[u8],
        rng: &mut (impl CryptoRng + ?Sized),
    ) -> Vec<u8> {
        let (name, cipher) = self.keys.first().expect("a parsed ring has a key");
        let nonce: [u8; NONCE_BYTES] = random_bytes(rng);
        let payload = Payload { msg: plaintext, aad: associated_data };
        let ciphertext = cipher.encrypt(&XNonce::from(nonce), payload).expect("the value is small");
        let name_length = u8::try_from(name.len()).expect("a parsed name has at most 16 bytes");
        [&[FORMAT, name_length], name.as_bytes(), &nonce, &ciphertext].concat()
    }

    /// Opens a sealed value.
    pub fn open(&self, sealed: &[u8], associated_data: &[u8]) -> Result<Zeroizing<Vec<u8>>, OpenError> {
        let (name, nonce, ciphertext) = split(sealed).ok_or(OpenError)?;
        let (_, cipher) =
            self.keys.iter().find(|(key_name, _)| key_name.as_bytes() == name).ok_or(OpenError)?;
        let payload = Payload { msg: ciphertext, aad: associated_data };
        cipher.decrypt(&XNonce::from(nonce), payload).map(Zeroizing::new).map_err(|_| OpenError)
    }

    /// Whether `sealed` is sealed with the key that seals today; if not, seal its content anew.
    #[must_use]
    pub fn is_current(&self, sealed: &[u8]) -> bool {
        let current = self.keys.first().map(|(name, _)| name.as_bytes());
        split(sealed).map(|(name, ..)| name) == current
    }
}

fn split(sealed: &[u8]) -> Option<(&[u8], [u8; NONCE_BYTES], &[u8])> {
    let (&[format, name_length], rest) = sealed.split_first_chunk::<2>()?;
    let (name, rest) = rest.split_at_checked(usize::from(name_length))?;
    let (nonce, ciphertext) = rest.split_first_chunk::<NONCE_BYTES>()?;
    (format == FORMAT).then_some((name, *nonce, ciphertext))
}

impl fmt::Debug for KeyRing {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_list().entries(self.keys.iter().map(|(name, _)| name)).finish()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const OLD: &str = "old:AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8";
    const NEW: &str = "new:_wECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8";

    #[test]
    fn a_rotated_ring_still_opens_what_the_old_key_sealed() {
        let old = KeyRing::parse(OLD).unwrap();
        let sealed = old.seal(b"value", b"row", &mut clock::secure_rng());
        let rotated = KeyRing::parse(&format!("{NEW},{OLD}")).unwrap();
        assert_eq!(*rotated.open(&sealed, b"row").unwrap(), b"value");
        assert!(old.is_current(&sealed));
        assert!(!rotated.is_current(&sealed));
        assert_eq!(KeyRing::parse(NEW).unwrap().open(&sealed, b"row").unwrap_err(), OpenError);
    }

    #[test]
    fn every_changed_or_missing_byte_is_noticed() {
        let ring = KeyRing::parse(OLD).unwrap();
        let sealed = ring.seal(b"value", b"row", &mut clock::secure_rng());
        for index in 0..sealed.len() {
            let mut changed = sealed.clone();
            changed[index] ^= 1;
            assert!(ring.open(&changed, b"row").is_err(), "byte {index}");
            assert!(ring.open(&sealed[..index], b"row").is_err(), "cut at {index}");
        }
    }

    #[test]
    fn bad_rings_are_refused_without_telling_the_key() {
        for text in ["", "nameless", "a:short", &format!("{OLD},{OLD}"), ":AAEC", "ü:AAEC"] {
            let error = KeyRing::parse(text).unwrap_err().to_string();
            assert!(!error.contains("AAEC") && !error.contains("short"), "{error}");
        }
    }
}
