//! The keys that sign and verify access tokens.

use std::ops::Deref;

use access_tokens::{KeyId, PublicKey, PublicKeys};
use chrono::{DateTime, TimeDelta, Utc};
use pasetors::{
    keys::{AsymmetricKeyPair, AsymmetricSecretKey, Generate},
    version4::V4,
};

use super::key_rotation::{KEPT_FOR, PUBLISHED_FOR};

/// One key pair with its times. The secret half is missing where it could not be opened: such a key still verifies.
#[derive(Debug, Clone, PartialEq)]
pub struct SigningKey {
    pub public: PublicKey,
    pub secret: Option<AsymmetricSecretKey<V4>>,
}

impl SigningKey {
    /// A new key that signs from `not_before`. Fails when the system gives no randomness.
    pub fn generate(not_before: DateTime<Utc>) -> Result<Self, pasetors::errors::Error> {
        let pair = AsymmetricKeyPair::<V4>::generate()?;
        let id = KeyId::of(&pair.public);
        let public = PublicKey { id, key: pair.public, not_before, retire_at: None };
        Ok(Self { public, secret: Some(pair.secret) })
    }

    fn may_sign(&self, now: DateTime<Utc>) -> bool {
        self.secret.is_some() && self.not_before <= now && !self.is_retired(now)
    }
}

impl Deref for SigningKey {
    type Target = PublicKey;

    fn deref(&self) -> &PublicKey {
        &self.public
    }
}

/// Where a key is on its way.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum KeyState {
    /// Verifiers know it, and nothing is signed with it yet.
    Published,
    Signing,
    /// Another key has taken over, and tokens of this one may still be in use.
    Verifying,
    Retired,
}

impl KeyState {
    pub const ALL: [Self; 4] = [Self::Published, Self::Signing, Self::Verifying, Self::Retired];

    pub fn name(self) -> &'static str {
        match self {
            Self::Published => "published",
            Self::Signing => "signs",
            Self::Verifying => "verifies",
            Self::Retired => "retired",
        }
    }
}

/// All keys that this process knows.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct KeySet {
    keys: Vec<SigningKey>,
}

impl KeySet {
    pub fn new(keys: Vec<SigningKey>) -> Self {
        Self { keys }
    }

    pub fn iter(&self) -> impl Iterator<Item = &SigningKey> {
        self.keys.iter()
    }

    /// The key that signs: of those that may, the one that began last.
    pub fn signer(&self, now: DateTime<Utc>) -> Option<&SigningKey> {
        self.keys.iter().filter(|key| key.may_sign(now)).max_by_key(|key| key.not_before)
    }

    /// The key that will sign soon.
    pub fn pending(&self, now: DateTime<Utc>) -> Option<&SigningKey> {
        self.published(now).find(|key| key.not_before > now)
    }

    /// Whether the next key must be published now, so that none signs for longer than `period`. Whoever can open no key has no say in it.
    pub fn is_rotation_due(&self, now: DateTime<Utc>, period: TimeDelta) -> bool {
        let is_old = |key: &SigningKey| now - key.not_before >= period - PUBLISHED_FOR;
        self.pending(now).is_none() && self.signer(now).is_some_and(is_old)
    }

    /// Whether there are keys that nobody will ask for any more.
    pub fn has_forgettable(&self, now: DateTime<Utc>) -> bool {
        self.keys.iter().any(|key| key.is_retired(now - KEPT_FOR))
    }

    /// Where `key` of this set is on its way.
    pub fn state(&self, key: &SigningKey, now: DateTime<Utc>) -> KeyState {
        if key.is_retired(now) {
            KeyState::Retired
        } else if self.signer(now).is_some_and(|signer| signer.id == key.id) {
            KeyState::Signing
        } else if key.not_before > now {
            KeyState::Published
        } else {
            KeyState::Verifying
        }
    }

    /// The public halves of all of them.
    pub fn public(&self) -> PublicKeys {
        PublicKeys::new(self.keys.iter().map(|key| key.public.clone()).collect())
    }

    /// What verifiers should know, including keys that will sign soon.
    pub fn published(&self, now: DateTime<Utc>) -> impl Iterator<Item = &SigningKey> {
        self.keys.iter().filter(move |key| !key.is_retired(now))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn now() -> DateTime<Utc> {
        "2030-01-01T00:00:00Z".parse().unwrap()
    }

    fn key(begins: DateTime<Utc>) -> SigningKey {
        SigningKey::generate(begins).unwrap()
    }

    #[test]
    fn the_newest_key_that_has_begun_signs_and_a_retired_one_does_nothing() {
        let (now, day) = (now(), TimeDelta::days(1));
        let mut retired = key(now - day * 9);
        retired.public.retire_at = Some(now);
        let (old, current, next) = (key(now - day * 2), key(now), key(now + day));
        let sealed_elsewhere = SigningKey { secret: None, ..key(now) };
        let ids: Vec<_> = [&retired, &old, &current, &next].map(|key| key.id.clone()).into();
        let keys = KeySet::new(vec![retired, next, current, old, sealed_elsewhere]);

        assert_eq!(keys.signer(now).unwrap().id, ids[2]);
        assert_eq!(keys.signer(now - TimeDelta::seconds(1)).unwrap().id, ids[1]);
        assert_eq!(keys.signer(now + day).unwrap().id, ids[3]);
        assert!(keys.public().find(&ids[0], now).is_none());
        assert!(keys.public().find(&ids[3], now).is_some());
        assert_eq!(keys.published(now).count(), 4);
        let states: Vec<_> = keys.iter().map(|key| keys.state(key, now).name()).collect();
        assert_eq!(states, ["retired", "published", "signs", "verifies", "verifies"]);
    }

    #[test]
    fn the_next_key_is_due_so_early_that_it_takes_over_in_time_and_only_once() {
        let (now, period) = (now(), TimeDelta::days(90));
        let begun = now - period + PUBLISHED_FOR;
        let due = |keys: Vec<SigningKey>| KeySet::new(keys).is_rotation_due(now, period);
        assert!(due(vec![key(begun)]));
        assert!(!due(vec![key(begun + TimeDelta::seconds(1))]));
        assert!(!due(vec![key(begun), key(now + TimeDelta::seconds(1))]));
        assert!(!due(vec![key(begun), key(now)]));
        assert!(!due(vec![SigningKey { secret: None, ..key(begun) }]));
        assert!(!due(vec![]));
    }
}
