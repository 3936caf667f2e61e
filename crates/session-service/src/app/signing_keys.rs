//! The signing keys: made at first need, kept in memory, looked at again from time to time.

use std::{sync::Arc, time::Duration};

use backon::{BackoffBuilder, ExponentialBuilder};
use chrono::{DateTime, SubsecRound, Utc};
use clock::SharedClock;
use diesel_async::AsyncConnection;
use parking_lot::RwLock;
use pasetors::{
    keys::{AsymmetricPublicKey, AsymmetricSecretKey},
    version4::V4,
};
use pg::Database;
use sealing::KeyRing;
use service_error::{ErrorKind, ServiceError};
use tokio::{sync::Mutex, time::Instant};
use tokio_util::sync::CancellationToken;
use tracing::{error, info, warn};

use super::facts;
use crate::{
    domain::key_set::{KeyId, KeySet, SigningKey},
    store::signing_keys::{self, StoredKey},
};

/// How often the table is looked at. A key is published for two of these before it signs.
const PERIOD: Duration = Duration::from_secs(30);
/// Tokens that name unknown keys cause no more than one look in this time, whoever sends them.
const SEARCH_INTERVAL: Duration = Duration::from_secs(1);

/// The keys as this process knows them; clones share them.
#[derive(Clone)]
pub struct SigningKeys(Arc<Inner>);

struct Inner {
    known: RwLock<Arc<KeySet>>,
    /// The last look at the table for somebody who waits; held meanwhile, so that others wait for the same look.
    last_search: Mutex<Option<Search>>,
    database: Database,
    key_ring: KeyRing,
    clock: SharedClock,
    wake: outbox::Wake,
}

/// A look at the table, and whether the table could be read.
#[derive(Clone, Copy)]
struct Search {
    ended: Instant,
    outcome: Result<(), KeysUnavailable>,
}

/// Nobody can say now which keys there are.
#[derive(Debug, Clone, Copy, thiserror::Error)]
#[error("the signing keys are not loaded")]
pub struct KeysUnavailable;

impl ServiceError for KeysUnavailable {
    fn kind(&self) -> ErrorKind {
        ErrorKind::Unavailable
    }

    fn reason(&self) -> &'static str {
        "signing_key_unavailable"
    }
}

/// Why the keys cannot be loaded.
#[derive(Debug, thiserror::Error)]
pub enum LoadKeysError {
    #[error("none of the {0} signing keys opens with SESSION_KEYS")]
    NoneOpens(usize),
    #[error("no key can be generated")]
    Generate(#[from] pasetors::errors::Error),
    #[error("the signing keys cannot be read")]
    Database(#[from] pg::Error),
}

pg::leaves_transactions!(LoadKeysError);

impl SigningKeys {
    pub fn new(database: Database, key_ring: KeyRing, clock: SharedClock, wake: outbox::Wake) -> Self {
        let (known, last_search) = (RwLock::default(), Mutex::default());
        Self(Arc::new(Inner { known, last_search, database, key_ring, clock, wake }))
    }

    /// What is known, without waiting.
    pub fn current(&self) -> Arc<KeySet> {
        Arc::clone(&self.0.known.read())
    }

    /// What is known; when there is nothing to sign with, looks at the table first.
    pub async fn for_signing(&self) -> Arc<KeySet> {
        if self.current().signer(self.now()).is_none() {
            // Whatever became of it, the caller sees whether there is a key.
            self.look_for_more().await.ok();
        }
        self.current()
    }

    /// Looks at the table now; if that was done just before, says what became of it then.
    pub async fn look_for_more(&self) -> Result<(), KeysUnavailable> {
        let mut last = self.0.last_search.lock().await;
        if let Some(search) = last.filter(|search| search.ended.elapsed() < SEARCH_INTERVAL) {
            return search.outcome;
        }
        let outcome = self.load().await.or_else(|error| {
            warn!(error = &error as &dyn std::error::Error, "Signing keys cannot be loaded");
            // Keys that do not open are known, and verify.
            if matches!(error, LoadKeysError::NoneOpens(_)) { Ok(()) } else { Err(KeysUnavailable) }
        });
        *last = Some(Search { ended: Instant::now(), outcome });
        outcome
    }

    /// Looks at the table until `stop`: soon again after a failure, otherwise each period.
    pub async fn keep_fresh(self, stop: CancellationToken) {
        let retries = ExponentialBuilder::default()
            .with_min_delay(Duration::from_millis(200))
            .with_max_delay(Duration::from_secs(5))
            .with_jitter()
            .without_max_times();
        let mut delays = retries.build();
        loop {
            let delay = match self.load().await {
                Ok(()) => {
                    delays = retries.build();
                    PERIOD
                }
                Err(error) => {
                    warn!(error = &error as &dyn std::error::Error, "Signing keys cannot be loaded");
                    delays.next().unwrap_or(PERIOD)
                }
            };
            if stop.run_until_cancelled(tokio::time::sleep(delay)).await.is_none() {
                return;
            }
        }
    }

    /// Loads the keys, making the first one if there is none.
    pub async fn load(&self) -> Result<(), LoadKeysError> {
        let mut conn = self.0.database.connection().await?;
        let mut stored = signing_keys::all(&mut conn).await?;
        if self.lacks_key(&stored) {
            stored = self.make_first_key(&mut conn).await?;
        }
        let keys = open_all(&stored, &self.0.key_ring);
        let can_sign = keys.signer(self.now()).is_some();
        *self.0.known.write() = Arc::new(keys);
        if can_sign { Ok(()) } else { Err(LoadKeysError::NoneOpens(stored.len())) }
    }

    /// Makes a key, unless another replica did so first, and reads them all.
    async fn make_first_key(&self, conn: &mut pg::Connection) -> Result<Vec<StoredKey>, LoadKeysError> {
        let stored = conn
            .transaction(async |conn| {
                signing_keys::lock(conn).await?;
                let stored = signing_keys::all(conn).await?;
                if !self.lacks_key(&stored) {
                    return Ok::<_, LoadKeysError>(stored);
                }
                let key = self.generate()?;
                signing_keys::insert(conn, &key).await?;
                let fact = facts::key_rotated(&key.kid, &*self.0.clock);
                outbox::append_fact(conn, fact).await?;
                info!("Made the first signing key, {}", key.kid);
                Ok(signing_keys::all(conn).await?)
            })
            .await?;
        self.0.wake.wake();
        Ok(stored)
    }

    /// There is nobody who could trust an older key, so it signs at once.
    fn generate(&self) -> Result<StoredKey, LoadKeysError> {
        let now = self.now();
        let key = SigningKey::generate(now)?;
        let secret = key.secret.as_ref().map(AsymmetricSecretKey::as_bytes).unwrap_or_default();
        let sealed = self.0.key_ring.seal(secret, &binding(key.id.as_str()), &mut clock::secure_rng());
        Ok(StoredKey {
            kid: key.id.to_string(),
            paserk: key.paserk(),
            secret: sealed,
            created_at: now,
            not_before: now,
            retire_at: None,
        })
    }

    fn lacks_key(&self, stored: &[StoredKey]) -> bool {
        let now = self.now();
        stored.iter().all(|key| key.is_retired(now))
    }

    fn now(&self) -> DateTime<Utc> {
        self.0.clock.now().trunc_subsecs(6)
    }
}

/// The keys as they are stored, without making any.
pub async fn read(database: &Database, key_ring: &KeyRing) -> pg::Result<KeySet> {
    let mut conn = database.connection().await?;
    Ok(open_all(&signing_keys::all(&mut conn).await?, key_ring))
}

fn open_all(stored: &[StoredKey], key_ring: &KeyRing) -> KeySet {
    KeySet::new(stored.iter().filter_map(|stored| open(stored, key_ring)).collect())
}

/// A stored key as one that works. A secret half that does not open leaves a key that verifies; a public half that is not
/// what the id says is no key at all.
fn open(stored: &StoredKey, key_ring: &KeyRing) -> Option<SigningKey> {
    let public = AsymmetricPublicKey::<V4>::try_from(stored.paserk.as_str()).ok();
    let Some(public) = public.filter(|public| KeyId::of(public).as_str() == stored.kid) else {
        error!("The signing key {} is not the key that its id names; it is ignored", stored.kid);
        return None;
    };
    let secret = open_secret(stored, &public, key_ring);
    if secret.is_none() {
        error!("The secret half of the signing key {} does not open with SESSION_KEYS", stored.kid);
    }
    let id = KeyId::of(&public);
    Some(SigningKey { id, public, secret, not_before: stored.not_before, retire_at: stored.retire_at })
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

fn binding(kid: &str) -> Vec<u8> {
    format!("signing_keys/{kid}/secret").into_bytes()
}
