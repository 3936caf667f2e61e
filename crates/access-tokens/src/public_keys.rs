use chrono::{DateTime, Utc};
use pasetors::{keys::AsymmetricPublicKey, paserk::FormatAsPaserk, version4::V4};

use crate::KeyId;

/// A key that verifies tokens, with its times.
#[derive(Debug, Clone, PartialEq)]
pub struct PublicKey {
    /// The id that tokens name.
    pub id: KeyId,
    /// Ed25519.
    pub key: AsymmetricPublicKey<V4>,
    /// From when it signs. It verifies before that too: the replica that signs may be ahead of us.
    pub not_before: DateTime<Utc>,
    /// From when nobody may trust it.
    pub retire_at: Option<DateTime<Utc>>,
}

/// A key is not what its id says.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the text is no PASERK k4.public, or of another key than its id says")]
pub struct NotThatKey;

impl PublicKey {
    /// The key that `paserk` (`k4.public.…`) spells, if its id is `kid`.
    pub fn from_paserk(
        kid: &str,
        paserk: &str,
        not_before: DateTime<Utc>,
        retire_at: Option<DateTime<Utc>>,
    ) -> Result<Self, NotThatKey> {
        let key = AsymmetricPublicKey::<V4>::try_from(paserk).map_err(|_| NotThatKey)?;
        let id = KeyId::of(&key);
        if id.as_str() == kid { Ok(Self { id, key, not_before, retire_at }) } else { Err(NotThatKey) }
    }

    /// The key as PASERK, `k4.public.…`.
    #[must_use]
    pub fn paserk(&self) -> String {
        paserk(&self.key)
    }

    /// Whether nobody may trust it any more.
    #[must_use]
    pub fn is_retired(&self, now: DateTime<Utc>) -> bool {
        self.retire_at.is_some_and(|retire_at| retire_at <= now)
    }
}

/// All keys that tokens may be signed with.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct PublicKeys(Vec<PublicKey>);

impl PublicKeys {
    /// A set of keys; retired ones may be among them, and are not trusted.
    #[must_use]
    pub fn new(keys: Vec<PublicKey>) -> Self {
        Self(keys)
    }

    /// The key that tokens call `id`, unless it is retired.
    #[must_use]
    pub fn find(&self, id: &KeyId, now: DateTime<Utc>) -> Option<&PublicKey> {
        self.0.iter().find(|key| key.id == *id && !key.is_retired(now))
    }

    /// Every key.
    pub fn iter(&self) -> impl Iterator<Item = &PublicKey> {
        self.0.iter()
    }

    /// Whether there is none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

pub(crate) fn paserk(value: &impl FormatAsPaserk) -> String {
    let mut text = String::new();
    // Writing to a String cannot fail, and there is nothing else in it that could.
    let _ = value.fmt(&mut text);
    text
}
