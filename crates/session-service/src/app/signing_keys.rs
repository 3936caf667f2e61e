//! The signing keys: made at first need, kept in memory, followed in their table, and replaced in time.

use std::{
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use access_tokens::TokenVerifier;
use backon::{BackoffBuilder, ExponentialBuilder};
use chrono::{DateTime, SubsecRound, TimeDelta, Utc};
use clock::SharedClock;
use pg::Database;
use sealing::KeyRing;
use service_error::{ErrorKind, ServiceError};
use tokio::{
    sync::{Mutex, watch},
    time::Instant,
};
use tokio_util::sync::CancellationToken;
use tracing::warn;

use super::{
    rotate_keys::{self, Occasion, RotateKeysError},
    sealed_keys,
};
use crate::{
    domain::{key_rotation::KEPT_FOR, key_set::KeySet},
    store::signing_keys,
};

/// How often the table is looked at here, and whether it is time for the next key. Changes are heard of earlier, by the feed of revocations.
const PERIOD: Duration = Duration::from_secs(30);
/// Tokens that name unknown keys cause no more than one look in this time, whoever sends them.
const SEARCH_INTERVAL: Duration = Duration::from_secs(1);

/// The keys as this process knows them; clones share them.
#[derive(Clone)]
pub struct SigningKeys(Arc<Inner>);

struct Inner {
    known: watch::Sender<Arc<KeySet>>,
    /// Looks at the table are numbered in the order in which they began …
    looks: AtomicU64,
    /// … and this one brought what is known: what an earlier one brings later is old.
    known_by: parking_lot::Mutex<u64>,
    /// The last look at the table for somebody who waits; held meanwhile, so that others wait for the same look.
    last_search: Mutex<Option<Search>>,
    database: Database,
    key_ring: KeyRing,
    clock: SharedClock,
    wake: outbox::Wake,
    /// Trusts what is known here.
    verifier: Arc<TokenVerifier>,
}

/// What a look at the table brought.
struct Look {
    number: u64,
    keys: KeySet,
}

/// A look at the table for somebody who waits, and whether the table could be read.
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
    #[error("there is no signing key, and none can be made")]
    Make(#[from] RotateKeysError),
    #[error("the signing keys cannot be read")]
    Database(#[from] pg::Error),
}

impl SigningKeys {
    pub fn new(
        database: Database,
        key_ring: KeyRing,
        clock: SharedClock,
        wake: outbox::Wake,
        verifier: Arc<TokenVerifier>,
    ) -> Self {
        Self(Arc::new(Inner {
            known: watch::Sender::default(),
            looks: AtomicU64::new(1),
            known_by: parking_lot::Mutex::default(),
            last_search: Mutex::default(),
            database,
            key_ring,
            clock,
            wake,
            verifier,
        }))
    }

    /// What is known, without waiting.
    pub fn current(&self) -> Arc<KeySet> {
        Arc::clone(&self.0.known.borrow())
    }

    /// What is known, now and whenever it changes.
    pub fn changes(&self) -> watch::Receiver<Arc<KeySet>> {
        self.0.known.subscribe()
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

    /// Looks at the table until `stop`, soon again after a failure, otherwise each period; and has the next key made so early that none signs for
    /// longer than `rotation`. Each replica does the same: the table's lock decides who makes it.
    pub async fn keep_fresh(self, rotation: TimeDelta, stop: CancellationToken) {
        let retries = ExponentialBuilder::default()
            .with_min_delay(Duration::from_millis(200))
            .with_max_delay(Duration::from_secs(5))
            .with_jitter()
            .without_max_times();
        let mut delays = retries.build();
        loop {
            let delay = match self.load_and_tend(rotation).await {
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

    async fn load_and_tend(&self, rotation: TimeDelta) -> Result<(), LoadKeysError> {
        self.load().await?;
        let (known, now) = (self.current(), self.now());
        let (is_due, has_forgettable) = (known.is_rotation_due(now, rotation), known.has_forgettable(now));
        if is_due && self.make(&Occasion::Schedule(rotation)).await? {
            self.load().await?;
        }
        if has_forgettable {
            let mut conn = self.0.database.connection().await?;
            signing_keys::forget(&mut conn, now - KEPT_FOR).await?;
        }
        Ok(())
    }

    /// Loads the keys, making the first one if there is none.
    pub async fn load(&self) -> Result<(), LoadKeysError> {
        let mut looked = self.look().await?;
        if looked.keys.published(self.now()).next().is_none() {
            self.make(&Occasion::NoKey).await?;
            looked = self.look().await?;
        }
        let can_sign = looked.keys.signer(self.now()).is_some();
        let count = looked.keys.iter().count();
        self.know(looked);
        if can_sign { Ok(()) } else { Err(LoadKeysError::NoneOpens(count)) }
    }

    async fn look(&self) -> pg::Result<Look> {
        let number = self.0.looks.fetch_add(1, Ordering::Relaxed);
        let keys = read(&self.0.database, &self.0.key_ring).await?;
        Ok(Look { number, keys })
    }

    /// The verifier learns it first: whoever hears of a change can rely on it.
    fn know(&self, Look { number, keys }: Look) {
        let mut known_by = self.0.known_by.lock();
        if number < *known_by {
            return;
        }
        *known_by = number;
        self.0.verifier.trust(&keys.public());
        self.0.known.send_if_modified(|known| {
            let differs = **known != keys;
            if differs {
                *known = Arc::new(keys);
            }
            differs
        });
    }

    /// Makes the next key if there is reason to, unless another replica did so first; whether it did.
    async fn make(&self, occasion: &Occasion) -> Result<bool, RotateKeysError> {
        let Inner { database, key_ring, clock, wake, .. } = &*self.0;
        let made = rotate_keys::make_next(database, key_ring, &**clock, occasion).await?;
        wake.wake();
        Ok(made.is_some())
    }

    fn now(&self) -> DateTime<Utc> {
        self.0.clock.now().trunc_subsecs(6)
    }
}

/// The keys as they are stored, without making any.
pub async fn read(database: &Database, key_ring: &KeyRing) -> pg::Result<KeySet> {
    let mut conn = database.connection().await?;
    Ok(sealed_keys::open_all(&signing_keys::all(&mut conn).await?, key_ring))
}
