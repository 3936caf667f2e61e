//! Refresh tokens: `far_` and base64url of version, session id, generation and a MAC under the session's own key.

use std::fmt;

use auth_ids::{GenericUuid, SessionId, Uuid};
use base64::prelude::*;
use clock::{CryptoRng, random_bytes};
use hmac::{Hmac, KeyInit, Mac};
use sha2::Sha256;
use zeroize::Zeroizing;

const PREFIX: &str = "far_";
const VERSION: u8 = 1;
const DOMAIN: &[u8] = b"feature-auth refresh token";
const MAC_BYTES: usize = 32;
/// Version, session id, generation and MAC; divisible by three, so that each token has one spelling in base64.
const TOKEN_BYTES: usize = 1 + 16 + 8 + MAC_BYTES;

/// The key of one session's refresh tokens.
pub struct RefreshKey(Zeroizing<[u8; 32]>);

impl RefreshKey {
    pub fn generate(rng: &mut (impl CryptoRng + ?Sized)) -> Self {
        Self(Zeroizing::new(random_bytes(rng)))
    }

    pub fn from_bytes(bytes: &[u8]) -> Option<Self> {
        bytes.try_into().ok().map(|bytes| Self(Zeroizing::new(bytes)))
    }

    pub fn as_bytes(&self) -> &[u8] {
        &*self.0
    }

    /// The token of `generation`: nothing about it is random or stored, so it can be given again.
    pub fn issue(&self, session: SessionId, generation: u64) -> String {
        let mac = self.mac(session, generation).finalize().into_bytes();
        let mut bytes = Vec::with_capacity(TOKEN_BYTES);
        bytes.push(VERSION);
        bytes.extend_from_slice(session.as_untyped_uuid().as_bytes());
        bytes.extend_from_slice(&generation.to_be_bytes());
        bytes.extend_from_slice(&mac);
        format!("{PREFIX}{}", BASE64_URL_SAFE_NO_PAD.encode(&bytes))
    }

    /// Whether `token` was issued under this key, in constant time.
    pub fn issued(&self, token: &RefreshToken) -> bool {
        self.mac(token.session, token.generation).verify_slice(&token.mac).is_ok()
    }

    #[expect(clippy::expect_used, reason = "HMAC takes keys of any length")]
    fn mac(&self, session: SessionId, generation: u64) -> Hmac<Sha256> {
        let mut mac = Hmac::<Sha256>::new_from_slice(&*self.0).expect("32 bytes are a key");
        mac.update(DOMAIN);
        mac.update(&[VERSION]);
        mac.update(session.as_untyped_uuid().as_bytes());
        mac.update(&generation.to_be_bytes());
        mac
    }
}

impl fmt::Debug for RefreshKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("RefreshKey")
    }
}

/// A refresh token as it was presented: it names a session and a generation, and nothing is proved until its MAC is checked.
pub struct RefreshToken {
    pub session: SessionId,
    pub generation: u64,
    mac: [u8; MAC_BYTES],
}

impl RefreshToken {
    pub fn parse(text: &str) -> Option<Self> {
        let encoded = text.strip_prefix(PREFIX)?;
        // Checked before decoding, so that a long text costs nothing.
        if encoded.len() != TOKEN_BYTES / 3 * 4 {
            return None;
        }
        let bytes = BASE64_URL_SAFE_NO_PAD.decode(encoded).ok()?;
        let (&[version], rest) = bytes.split_first_chunk::<1>()?;
        let (session, rest) = rest.split_first_chunk::<16>()?;
        let (generation, mac) = rest.split_first_chunk::<8>()?;
        (version == VERSION).then_some(Self {
            session: SessionId::from_untyped_uuid(Uuid::from_bytes(*session)),
            generation: u64::from_be_bytes(*generation),
            mac: mac.try_into().ok()?,
        })
    }
}

impl fmt::Debug for RefreshToken {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "RefreshToken(session {}, generation {})", self.session, self.generation)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_token_is_the_same_each_time_and_names_its_generation() {
        let key = RefreshKey::generate(&mut clock::secure_rng());
        let session = auth_ids::generate(&clock::SystemClock, &mut clock::secure_rng());
        let text = key.issue(session, 7);
        assert_eq!(text, key.issue(session, 7));
        assert_eq!(text.len(), 80);
        let token = RefreshToken::parse(&text).unwrap();
        assert_eq!((token.session, token.generation), (session, 7));
        assert!(key.issued(&token));
        assert!(!format!("{token:?} {key:?}").contains(&text[30..]));
    }

    #[test]
    fn no_changed_character_survives() {
        let key = RefreshKey::generate(&mut clock::secure_rng());
        let session = auth_ids::generate(&clock::SystemClock, &mut clock::secure_rng());
        let text = key.issue(session, 1);
        for index in 0..text.len() {
            for bit in 0..7 {
                let mut bytes = text.clone().into_bytes();
                bytes[index] ^= 1 << bit;
                let changed = String::from_utf8(bytes).unwrap();
                let accepted = RefreshToken::parse(&changed).is_some_and(|token| key.issued(&token));
                assert!(!accepted, "bit {bit} of character {index}");
            }
            assert!(RefreshToken::parse(&text[..index]).is_none(), "cut at {index}");
        }
        let other = RefreshKey::generate(&mut clock::secure_rng());
        assert!(!other.issued(&RefreshToken::parse(&text).unwrap()));
    }

    #[test]
    fn texts_of_other_shapes_are_refused() {
        let key = RefreshKey::generate(&mut clock::secure_rng());
        let session = auth_ids::generate(&clock::SystemClock, &mut clock::secure_rng());
        let text = key.issue(session, 1);
        let version_2 = format!("far_{}", BASE64_URL_SAFE_NO_PAD.encode([2; TOKEN_BYTES]));
        let padded = format!("{text}=");
        let long = format!("far_{}", "A".repeat(1024 * 1024));
        for wrong in ["", "far_", &text[4..], &text.replace("far_", "fat_"), &padded, &version_2, &long] {
            assert!(RefreshToken::parse(wrong).is_none(), "{wrong:.80}");
        }
    }
}
