//! Signing keys between their table, where the secret half is sealed, and memory.

use access_tokens::PublicKey;
use chrono::{DateTime, Utc};
use pasetors::{
    keys::{AsymmetricPublicKey, AsymmetricSecretKey},
    version4::V4,
};
use sealing::KeyRing;
use tracing::error;

use crate::{
    domain::key_set::{KeySet, SigningKey},
    store::signing_keys::StoredKey,
};

/// `key`, made at `now`, for its table.
pub fn seal(key: &SigningKey, key_ring: &KeyRing, now: DateTime<Utc>) -> StoredKey {
    let secret = key.secret.as_ref().map(AsymmetricSecretKey::as_bytes).unwrap_or_default();
    StoredKey {
        kid: key.id.to_string(),
        paserk: key.paserk(),
        secret: key_ring.seal(secret, &binding(key.id.as_str()), &mut clock::secure_rng()),
        created_at: now,
        not_before: key.not_before,
        retire_at: key.retire_at,
    }
}

pub fn open_all(stored: &[StoredKey], key_ring: &KeyRing) -> KeySet {
    KeySet::new(stored.iter().filter_map(|stored| open(stored, key_ring)).collect())
}

/// A stored key as one that works. A secret half that does not open leaves a key that verifies; a public half that is not what the id says is no
/// key at all.
fn open(stored: &StoredKey, key_ring: &KeyRing) -> Option<SigningKey> {
    let StoredKey { kid, paserk, not_before, retire_at, .. } = stored;
    let Ok(public) = PublicKey::from_paserk(kid, paserk, *not_before, *retire_at) else {
        error!("The signing key {kid} is not the key that its id names; it is ignored");
        return None;
    };
    let secret = open_secret(stored, &public.key, key_ring);
    if secret.is_none() {
        error!("The secret half of the signing key {kid} does not open with SESSION_KEYS");
    }
    Some(SigningKey { public, secret })
}

fn open_secret(
    stored: &StoredKey,
    public: &AsymmetricPublicKey<V4>,
    key_ring: &KeyRing,
) -> Option<AsymmetricSecretKey<V4>> {
    let bytes = key_ring.open(&stored.secret, &binding(&stored.kid)).ok()?;
    let secret = AsymmetricSecretKey::<V4>::from(&bytes).ok()?;
    let its_public = AsymmetricPublicKey::<V4>::try_from(&secret).ok()?;
    (its_public == *public).then_some(secret)
}

/// What the sealed secret half of the key `kid` is bound to.
pub fn binding(kid: &str) -> Vec<u8> {
    format!("signing_keys/{kid}/secret").into_bytes()
}
