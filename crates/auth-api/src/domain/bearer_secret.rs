use std::fmt;

use base64::prelude::*;
use clock::{CryptoRng, random_bytes};
use sha2::{Digest, Sha256};
use subtle::ConstantTimeEq;
use zeroize::Zeroizing;

const RANDOM_BYTES: usize = 32;

/// What a secret is for; its prefix tells it apart from every other kind, for people and for leak scanners.
pub trait SecretKind {
    /// The recognisable beginning.
    const PREFIX: &'static str;
}

/// A token in a mail, good for one use.
#[derive(Debug)]
pub struct OneTime;
impl SecretKind for OneTime {
    const PREFIX: &'static str = "fat_";
}
/// A token in one-time links.
pub type OneTimeToken = BearerSecret<OneTime>;

/// What the registering browser keeps.
#[derive(Debug)]
pub struct Registration;
impl SecretKind for Registration {
    const PREFIX: &'static str = "frh_";
}
/// Proves that the browser that opens the link is the one that registered.
pub type RegistrationHandle = BearerSecret<Registration>;

/// What a known browser keeps.
#[derive(Debug)]
pub struct Device;
impl SecretKind for Device {
    const PREFIX: &'static str = "fad_";
}
/// Says which known device a browser is.
pub type DeviceToken = BearerSecret<Device>;

/// What a login whose password was right waits with for its second factor.
#[derive(Debug)]
pub struct LoginChallenge;
impl SecretKind for LoginChallenge {
    const PREFIX: &'static str = "fac_";
}
/// Stands for a right password until the second factor is given.
pub type LoginChallengeToken = BearerSecret<LoginChallenge>;

/// What the enrolment of a second factor waits with for its first code.
#[derive(Debug)]
pub struct Enrolment;
impl SecretKind for Enrolment {
    const PREFIX: &'static str = "fae_";
}
/// Names a second factor that is not confirmed yet.
pub type EnrolmentToken = BearerSecret<Enrolment>;

/// 256 random bits with a recognisable prefix. Whoever presents it, has it; so it is stored only as a hash.
pub struct BearerSecret<K> {
    text: Zeroizing<String>,
    kind: std::marker::PhantomData<K>,
}

/// SHA-256 of a secret. A fast hash is enough because the secret has 256 bits of entropy.
#[derive(Clone, PartialEq, Eq)]
pub struct SecretHash([u8; 32]);

impl<K: SecretKind> BearerSecret<K> {
    /// A new secret.
    pub fn generate(rng: &mut (impl CryptoRng + ?Sized)) -> Self {
        let bytes = Zeroizing::new(random_bytes::<RANDOM_BYTES>(rng));
        let text = Zeroizing::new(format!("{}{}", K::PREFIX, BASE64_URL_SAFE_NO_PAD.encode(*bytes)));
        Self { text, kind: std::marker::PhantomData }
    }

    /// Recognises a secret of this kind by its form.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        let encoded = text.strip_prefix(K::PREFIX)?;
        let bytes = Zeroizing::new(BASE64_URL_SAFE_NO_PAD.decode(encoded).ok()?);
        (bytes.len() == RANDOM_BYTES)
            .then(|| Self { text: Zeroizing::new(text.to_owned()), kind: std::marker::PhantomData })
    }

    /// The hash by which it is stored and found.
    #[must_use]
    pub fn hash(&self) -> SecretHash {
        SecretHash(Sha256::digest(self.text.as_bytes()).into())
    }

    /// The secret itself, for the one place that gives it to its holder.
    #[must_use]
    pub fn expose(&self) -> &str {
        &self.text
    }
}

impl<K> Clone for BearerSecret<K> {
    fn clone(&self) -> Self {
        Self { text: self.text.clone(), kind: self.kind }
    }
}

impl<K: SecretKind> fmt::Debug for BearerSecret<K> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}…", K::PREFIX)
    }
}

impl SecretHash {
    /// The bytes, for a database column.
    #[must_use]
    pub fn as_bytes(&self) -> &[u8] {
        &self.0
    }

    /// Whether `stored` is this hash, in time that does not depend on where they differ.
    #[must_use]
    pub fn matches(&self, stored: &[u8]) -> bool {
        self.0.ct_eq(stored).into()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_secret_is_recognised_only_as_its_own_kind() {
        let token = OneTimeToken::generate(&mut clock::secure_rng());
        let again = OneTimeToken::parse(token.expose()).unwrap();
        assert!(again.hash().matches(token.hash().as_bytes()));
        assert!(RegistrationHandle::parse(token.expose()).is_none());
        assert!(OneTimeToken::parse(&token.expose()[..40]).is_none());
        assert!(OneTimeToken::parse(&format!("{}=", token.expose())).is_none());
        assert!(OneTimeToken::parse("").is_none());
        assert!(!format!("{token:?}").contains(&token.expose()[4..]));
    }
}
