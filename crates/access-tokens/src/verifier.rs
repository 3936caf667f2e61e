use std::sync::{
    Arc,
    atomic::{AtomicI64, Ordering},
};

use arc_swap::ArcSwap;
use chrono::{DateTime, Utc};
use quick_cache::sync::Cache;
use sha2::{Digest, Sha256};

use crate::{AccessClaims, PublicKeys, TokenRejection, TokenScope, verify};

/// Verifies tokens and remembers those that were good, so that a signature is checked once for each token. Nothing that was presented can be read from
/// the memory: it knows tokens by their SHA-256. Does no I/O.
pub struct TokenVerifier {
    scope: TokenScope,
    keys: ArcSwap<KeyTable>,
    seen: Cache<[u8; 32], Arc<SeenToken>>,
}

/// The keys, and which version of them these are.
struct KeyTable {
    version: u64,
    keys: PublicKeys,
}

/// A token whose signature is good.
#[derive(Debug)]
pub struct SeenToken {
    /// What it says.
    pub claims: AccessClaims,
    key_version: u64,
    key_retires_at: Option<DateTime<Utc>>,
    noted_at: AtomicI64,
}

impl SeenToken {
    /// Whether it is time to take note that the token is in use: at its first use, and then once in `every_seconds`. Of several who ask at once one
    /// is told so.
    pub fn is_news(&self, now: DateTime<Utc>, every_seconds: i64) -> bool {
        let noted_at = self.noted_at.load(Ordering::Relaxed);
        let now = now.timestamp();
        now.saturating_sub(noted_at) >= every_seconds
            && self.noted_at.compare_exchange(noted_at, now, Ordering::Relaxed, Ordering::Relaxed).is_ok()
    }
}

impl TokenVerifier {
    /// Verifies tokens of `scope`, without any key yet, and remembers up to `capacity` of them (about 1 KiB each).
    #[must_use]
    pub fn new(scope: TokenScope, capacity: usize) -> Self {
        let table = KeyTable { version: 0, keys: PublicKeys::default() };
        Self { scope, keys: ArcSwap::from_pointee(table), seen: Cache::new(capacity) }
    }

    /// Trusts `keys` from now on, and no others. A token that was seen before is looked at again once if anything changed.
    pub fn trust(&self, keys: &PublicKeys) {
        self.keys.rcu(|table| {
            let same = table.keys == *keys;
            KeyTable { version: table.version + u64::from(!same), keys: keys.clone() }
        });
    }

    /// The keys that are trusted now.
    #[must_use]
    pub fn keys(&self) -> PublicKeys {
        self.keys.load().keys.clone()
    }

    /// Whether any key is known.
    pub fn has_keys(&self) -> bool {
        !self.keys.load().keys.is_empty()
    }

    /// The token, if it is one of ours at `now`. Whether its session was revoked is not known here.
    pub fn verify(&self, token: &str, now: DateTime<Utc>) -> Result<Arc<SeenToken>, TokenRejection> {
        let seen = self.authenticate(token, now)?;
        seen.claims.check_time(now)?;
        Ok(seen)
    }

    /// The token, if it is one of ours, expired or not.
    pub fn authenticate(&self, token: &str, now: DateTime<Utc>) -> Result<Arc<SeenToken>, TokenRejection> {
        let table = self.keys.load();
        let digest: [u8; 32] = Sha256::digest(token.as_bytes()).into();
        let known = self.seen.get(&digest).filter(|seen| {
            seen.key_version == table.version && seen.key_retires_at.is_none_or(|retires_at| now < retires_at)
        });
        if let Some(seen) = known {
            return Ok(seen);
        }
        let (claims, key) = verify(token, &table.keys, &self.scope, now)?;
        let seen = Arc::new(SeenToken {
            claims,
            key_version: table.version,
            key_retires_at: key.retire_at,
            noted_at: AtomicI64::new(i64::MIN),
        });
        self.seen.insert(digest, Arc::clone(&seen));
        Ok(seen)
    }
}
