//! What is signed: the ends of all chains, and where retention cut one off.

use std::collections::BTreeMap;

use chrono::{DateTime, NaiveDate, Utc};
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use super::{CheckpointKeys, Class, Damage, DamageKind, chain::Hash};

/// Separates what this key signs from anything else, and from later forms.
const CHECKPOINT_DOMAIN: &[u8] = b"feature-auth audit checkpoint v1\0";
const DROP_DOMAIN: &[u8] = b"feature-auth audit drop v1\0";

/// A signed statement of where all chains ended.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Checkpoint {
    pub statement: Statement,
    /// Ed25519 of the statement.
    #[serde(with = "base64_bytes")]
    pub signature: Vec<u8>,
}

/// What a checkpoint states.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Statement {
    /// From 1, without gaps.
    pub number: i64,
    /// The highest of the log.
    pub seq: i64,
    /// In whole microseconds.
    pub signed_at: DateTime<Utc>,
    pub key_id: String,
    /// The last row of each class that has one.
    pub heads: BTreeMap<String, SignedHead>,
    /// SHA-256 of the checkpoint before; zeros for the first.
    #[serde(with = "base64_bytes")]
    pub previous: Vec<u8>,
}

/// The last row of a chain, as it is signed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SignedHead {
    pub seq: i64,
    pub position: i64,
    #[serde(with = "base64_bytes")]
    pub hash: Vec<u8>,
}

/// Where retention cut a chain off: the last row of a month that goes.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Drop {
    pub class: String,
    /// Its first day.
    pub month: NaiveDate,
    pub key_id: String,
    #[serde(flatten)]
    pub last: SignedHead,
}

/// A [`Drop`] and the Ed25519 signature of it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SignedDrop {
    pub drop: Drop,
    pub signature: Vec<u8>,
}

impl Statement {
    /// Signs it.
    #[must_use]
    pub fn sign(self, keys: &CheckpointKeys) -> Option<Checkpoint> {
        let signature = keys.sign(&signed_bytes(CHECKPOINT_DOMAIN, &self))?;
        Some(Checkpoint { statement: self, signature })
    }

    /// The end of one chain.
    #[must_use]
    pub fn head(&self, class: Class) -> Option<&SignedHead> {
        self.heads.get(class.name())
    }
}

impl Checkpoint {
    /// Whether one of our keys signed it.
    #[must_use]
    pub fn is_genuine(&self, keys: &CheckpointKeys) -> bool {
        let message = signed_bytes(CHECKPOINT_DOMAIN, &self.statement);
        keys.verify(&self.statement.key_id, &message, &self.signature)
    }

    /// What is found when it is not genuine.
    #[must_use]
    pub fn not_signed_by_us(&self) -> Damage {
        let Statement { number, seq, key_id, .. } = &self.statement;
        let detail = format!("checkpoint {number} was not signed by key {key_id}");
        Damage { seq: *seq, id: None, kind: DamageKind::SignatureInvalid, detail }
    }

    /// What the next one repeats of this one.
    #[must_use]
    pub fn digest(&self) -> Hash {
        let mut digest = Sha256::new();
        digest.update(signed_bytes(CHECKPOINT_DOMAIN, &self.statement));
        digest.update(&self.signature);
        digest.finalize().into()
    }
}

impl Drop {
    /// Signs it.
    #[must_use]
    pub fn sign(self, keys: &CheckpointKeys) -> Option<SignedDrop> {
        let signature = keys.sign(&signed_bytes(DROP_DOMAIN, &self))?;
        Some(SignedDrop { drop: self, signature })
    }
}

impl SignedDrop {
    /// Whether one of our keys signed it.
    #[must_use]
    pub fn is_genuine(&self, keys: &CheckpointKeys) -> bool {
        keys.verify(&self.drop.key_id, &signed_bytes(DROP_DOMAIN, &self.drop), &self.signature)
    }
}

fn signed_bytes(domain: &[u8], statement: &impl Serialize) -> Vec<u8> {
    // Text, integers and maps by text always have a canonical form; without one nothing would be signed twice the same.
    let canonical = serde_json_canonicalizer::to_vec(statement).unwrap_or_default();
    [domain, &canonical].concat()
}

/// Unpadded URL-safe base64.
mod base64_bytes {
    use base64::prelude::*;
    use serde::Deserialize;

    pub fn serialize<S: serde::Serializer>(bytes: &[u8], serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&BASE64_URL_SAFE_NO_PAD.encode(bytes))
    }

    pub fn deserialize<'de, D: serde::Deserializer<'de>>(deserializer: D) -> Result<Vec<u8>, D::Error> {
        let text = String::deserialize(deserializer)?;
        BASE64_URL_SAFE_NO_PAD.decode(text).map_err(serde::de::Error::custom)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn statement(keys: &CheckpointKeys) -> Statement {
        let head = SignedHead { seq: 7, position: 5, hash: vec![1; 32] };
        Statement {
            number: 1,
            seq: 7,
            signed_at: DateTime::UNIX_EPOCH,
            key_id: keys.signing_id().unwrap().to_owned(),
            heads: [("security".to_owned(), head)].into(),
            previous: vec![0; 32],
        }
    }

    #[test]
    fn a_checkpoint_is_genuine_until_anything_of_it_changes() {
        let keys = CheckpointKeys::generate();
        let checkpoint = statement(&keys).sign(&keys).unwrap();
        assert!(checkpoint.is_genuine(&keys));
        let read: Checkpoint = serde_json::from_slice(&serde_json::to_vec(&checkpoint).unwrap()).unwrap();
        assert_eq!(read, checkpoint);
        assert!(read.is_genuine(&keys));

        let mut changed = checkpoint.clone();
        changed.statement.seq = 8;
        assert!(!changed.is_genuine(&keys));
        assert_ne!(changed.digest(), checkpoint.digest());
        let mut changed = checkpoint.clone();
        changed.signature[0] ^= 1;
        assert!(!changed.is_genuine(&keys));
        assert!(!checkpoint.is_genuine(&CheckpointKeys::generate()));
    }

    #[test]
    fn a_drop_is_genuine_until_anything_of_it_changes() {
        let keys = CheckpointKeys::generate();
        let last = SignedHead { seq: 7, position: 5, hash: vec![1; 32] };
        let key_id = keys.signing_id().unwrap().to_owned();
        let drop = Drop { class: "security".to_owned(), month: NaiveDate::default(), key_id, last };
        let mut signed = drop.sign(&keys).unwrap();
        assert!(signed.is_genuine(&keys));
        signed.drop.class = "routine".to_owned();
        assert!(!signed.is_genuine(&keys));
    }
}
