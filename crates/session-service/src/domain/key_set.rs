//! The keys that sign and verify access tokens.

use std::fmt;

use chrono::{DateTime, Utc};
use pasetors::{
    keys::{AsymmetricKeyPair, AsymmetricPublicKey, AsymmetricSecretKey, Generate},
    paserk::{FormatAsPaserk, Id},
    version4::V4,
};

/// A PASERK id, `k4.pid.…`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct KeyId(String);

impl KeyId {
    const PREFIX: &str = "k4.pid.";
    /// The prefix and 33 bytes in base64.
    const LENGTH: usize = Self::PREFIX.len() + 44;

    pub fn parse(text: &str) -> Option<Self> {
        let digest = text.strip_prefix(Self::PREFIX)?;
        let well_formed = text.len() == Self::LENGTH
            && digest.bytes().all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_'));
        well_formed.then(|| Self(text.to_owned()))
    }

    pub fn of(public: &AsymmetricPublicKey<V4>) -> Self {
        Self(paserk(&Id::from(public)))
    }

    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for KeyId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// One key pair with its times. The secret half is missing where it could not be opened: such a key still verifies.
#[derive(Debug, Clone)]
pub struct SigningKey {
    pub id: KeyId,
    pub public: AsymmetricPublicKey<V4>,
    pub secret: Option<AsymmetricSecretKey<V4>>,
    pub not_before: DateTime<Utc>,
    pub retire_at: Option<DateTime<Utc>>,
}

impl SigningKey {
    /// A new key that signs from `not_before`. Fails when the system gives no randomness.
    pub fn generate(not_before: DateTime<Utc>) -> Result<Self, pasetors::errors::Error> {
        let pair = AsymmetricKeyPair::<V4>::generate()?;
        let id = KeyId::of(&pair.public);
        Ok(Self { id, public: pair.public, secret: Some(pair.secret), not_before, retire_at: None })
    }

    /// The public half as PASERK, `k4.public.…`.
    pub fn paserk(&self) -> String {
        paserk(&self.public)
    }

    pub fn is_retired(&self, now: DateTime<Utc>) -> bool {
        self.retire_at.is_some_and(|retire_at| retire_at <= now)
    }

    fn may_sign(&self, now: DateTime<Utc>) -> bool {
        self.secret.is_some() && self.not_before <= now && !self.is_retired(now)
    }
}

/// All keys that this process knows.
#[derive(Debug, Clone, Default)]
pub struct KeySet {
    keys: Vec<SigningKey>,
}

impl KeySet {
    pub fn new(keys: Vec<SigningKey>) -> Self {
        Self { keys }
    }

    /// The key that signs: of those that may, the one that began last.
    pub fn signer(&self, now: DateTime<Utc>) -> Option<&SigningKey> {
        self.keys.iter().filter(|key| key.may_sign(now)).max_by_key(|key| key.not_before)
    }

    /// The key that verifies tokens which name `id`.
    pub fn verifier(&self, id: &KeyId, now: DateTime<Utc>) -> Option<&SigningKey> {
        self.keys.iter().find(|key| key.id == *id && !key.is_retired(now))
    }

    /// What verifiers should know, including keys that will sign soon.
    pub fn published(&self, now: DateTime<Utc>) -> impl Iterator<Item = &SigningKey> {
        self.keys.iter().filter(move |key| !key.is_retired(now))
    }
}

fn paserk(value: &impl FormatAsPaserk) -> String {
    let mut text = String::new();
    // Writing to a String cannot fail, and there is nothing else in it that could.
    let _ = value.fmt(&mut text);
    text
}

#[cfg(test)]
mod tests {
    use chrono::TimeDelta;

    use super::*;

    #[test]
    fn the_newest_key_that_has_begun_signs_and_a_retired_one_does_nothing() {
        let now = "2030-01-01T00:00:00Z".parse().unwrap();
        let day = TimeDelta::days(1);
        let key = |begins: DateTime<Utc>| SigningKey::generate(begins).unwrap();
        let retired = SigningKey { retire_at: Some(now), ..key(now - day * 9) };
        let (old, current, next) = (key(now - day * 2), key(now), key(now + day));
        let sealed_elsewhere = SigningKey { secret: None, ..key(now) };
        let ids: Vec<_> = [&retired, &old, &current, &next].map(|key| key.id.clone()).into();
        let keys = KeySet::new(vec![retired, next, current, old, sealed_elsewhere]);

        assert_eq!(keys.signer(now).unwrap().id, ids[2]);
        assert_eq!(keys.signer(now - TimeDelta::seconds(1)).unwrap().id, ids[1]);
        assert_eq!(keys.signer(now + day).unwrap().id, ids[3]);
        assert!(keys.verifier(&ids[0], now).is_none());
        assert!(keys.verifier(&ids[3], now).is_some());
        assert_eq!(keys.published(now).count(), 4);
    }

    #[test]
    fn a_key_id_is_read_strictly() {
        let id = SigningKey::generate(DateTime::UNIX_EPOCH).unwrap().id;
        assert_eq!(KeyId::parse(id.as_str()), Some(id.clone()));
        let text = id.as_str();
        for wrong in [
            "",
            "k4.pid.",
            &text[..50],
            &format!("{text}A"),
            &text.replace("k4", "k2"),
            &format!("{}=", &text[..50]),
        ] {
            assert_eq!(KeyId::parse(wrong), None, "{wrong}");
        }
    }
}
