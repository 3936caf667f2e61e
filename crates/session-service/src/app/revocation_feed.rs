//! Knows what was revoked lately without asking anybody: the memory from which access tokens are judged, and the news for those who watch.

use std::{sync::Arc, time::Duration};

use access_tokens::{AccessClaims, MAX_TTL, Revocation, RevocationSet, RevocationTarget};
use chrono::{DateTime, TimeDelta, Utc};
use clock::SharedClock;
use parking_lot::Mutex;
use pg::Database;
use prometheus::{IntGauge, Registry};
use tokio::{
    sync::broadcast,
    time::{Instant, sleep, timeout},
};
use tokio_util::sync::CancellationToken;
use tracing::{debug, warn};

use super::{
    peer_signal::PeerSignal,
    signing_keys::{LoadKeysError, SigningKeys},
};
use crate::store::revocations::{self, Cursor};

/// How often the table is looked at when nobody says that there is news.
const PERIOD: Duration = Duration::from_secs(2);
/// A burst of news is one look.
const PAUSE: Duration = Duration::from_millis(5);
/// A replica that could not look for so long may have missed something.
const CURRENT_FOR: Duration = Duration::from_secs(5);
/// Who knows that there is news and cannot read it for so long is not current any more.
const UNREAD_FOR: Duration = Duration::from_millis(500);
/// A look that failed is repeated after this.
const RETRY: Duration = Duration::from_millis(200);
/// So much clocks may differ.
const CLOCKS_DIFFER: TimeDelta = TimeDelta::minutes(1);
/// How long a revocation matters: as long as any token may live, and a minute for clocks that differ.
const REMEMBERED_FOR: TimeDelta = match MAX_TTL.checked_add(&CLOCKS_DIFFER) {
    Some(sum) => sum,
    None => MAX_TTL,
};
/// News that a watcher may be behind before it has to begin again.
const BACKLOG: usize = 1024;

/// The feed; clones share it.
#[derive(Clone)]
pub struct RevocationFeed(Arc<Inner>);

struct Inner {
    known: RevocationSet,
    watchers: broadcast::Sender<Arc<[Revocation]>>,
    reading: Mutex<Reading>,
    database: Database,
    clock: SharedClock,
    keys: SigningKeys,
    peers: PeerSignal,
    remembered: IntGauge,
}

/// Why it is not known what was revoked.
#[derive(Debug, thiserror::Error)]
enum LookError {
    #[error("the revocations cannot be read")]
    Database(#[from] pg::Error),
    #[error("the signing keys changed and cannot be loaded")]
    Keys(#[from] LoadKeysError),
}

#[derive(Default)]
struct Reading {
    cursor: Cursor,
    keys: String,
    /// When the last look that succeeded began.
    read_at: Option<Instant>,
    /// And by the clock: what had to be forgotten then was passed over.
    time: DateTime<Utc>,
}

impl RevocationFeed {
    pub fn new(
        database: Database,
        clock: SharedClock,
        keys: SigningKeys,
        peers: PeerSignal,
        registry: &Registry,
    ) -> Result<Self, prometheus::Error> {
        let remembered = IntGauge::new(
            "session_revocations_remembered",
            "Revocations that may concern a token which has not expired.",
        )?;
        registry.register(Box::new(remembered.clone()))?;
        Ok(Self(Arc::new(Inner {
            known: RevocationSet::default(),
            watchers: broadcast::Sender::new(BACKLOG),
            reading: Mutex::default(),
            database,
            clock,
            keys,
            peers,
            remembered,
        })))
    }

    /// That tokens died at `now`, to be stored in the transaction that kills them and announced after it.
    pub fn revocation(target: RevocationTarget, now: DateTime<Utc>) -> Revocation {
        Revocation { target, revoked_at: now, forget_at: now + REMEMBERED_FOR }
    }

    /// Honours what a transaction has revoked, and tells watchers and the other replicas. Never waits.
    pub fn announce(&self, revocations: Vec<Revocation>) {
        self.learn(revocations);
        self.0.peers.send();
    }

    /// Whether nothing can have been revoked that is not known here but for the last moments: the table was looked at lately, and no news is waiting
    /// unread; or every other replica would have been heard and none said anything since.
    pub fn is_current(&self) -> bool {
        let Some(read_at) = self.0.reading.lock().read_at else { return false };
        let lately = read_at.elapsed() <= CURRENT_FOR;
        (lately && !self.0.peers.has_waited(UNREAD_FOR)) || self.0.peers.quiet_since(read_at)
    }

    /// Whether a token with `claims` died; means something only while the feed is current.
    pub fn revokes(&self, claims: &AccessClaims) -> bool {
        self.0.known.revokes(claims)
    }

    /// The news from now on, and what was revoked since `since`.
    pub fn watch(&self, since: DateTime<Utc>) -> (broadcast::Receiver<Arc<[Revocation]>>, Vec<Revocation>) {
        // In this order nothing falls between the two.
        let news = self.0.watchers.subscribe();
        (news, self.0.known.since(since))
    }

    /// Looks at the table until `stop`: each period, and whenever another replica says that there is something.
    pub async fn keep_current(self, stop: CancellationToken) {
        while !stop.is_cancelled() {
            if let Err(error) = self.look().await {
                warn!(error = &error as &dyn std::error::Error, "Revocations cannot be read");
                // What answers next may be another server, whose transactions are numbered otherwise.
                self.0.reading.lock().cursor = Cursor::default();
                stop.run_until_cancelled(sleep(RETRY)).await;
                continue;
            }
            let next = timeout(PERIOD, async {
                self.0.peers.heard().await;
                sleep(PAUSE).await;
            });
            stop.run_until_cancelled(next).await;
        }
    }

    async fn look(&self) -> Result<(), LookError> {
        let began = Instant::now();
        let now = self.0.clock.now();
        let (cursor, keys) = {
            let reading = self.0.reading.lock();
            let is_set_back = now < reading.time - CLOCKS_DIFFER;
            (if is_set_back { Cursor::default() } else { reading.cursor }, reading.keys.clone())
        };
        let mut conn = self.0.database.connection().await?;
        let mut news = revocations::since(&mut conn, cursor, now).await?;
        if news.cursor < cursor {
            // Another database, or one from a backup: what was seen there says nothing here.
            warn!("The database's transactions began anew; revocations are read from the beginning");
            news = revocations::since(&mut conn, Cursor::default(), now).await?;
        }
        drop(conn);
        self.0.known.forget_old(now);
        self.learn(news.revocations);
        self.0.remembered.set(i64::try_from(self.0.known.len()).unwrap_or(i64::MAX));
        if news.keys != keys {
            debug!("The signing keys changed");
            match self.0.keys.load().await {
                // Keys that do not open are known, and verify.
                Ok(()) | Err(LoadKeysError::NoneOpens(_)) => {}
                Err(error) => return Err(error.into()),
            }
        }
        *self.0.reading.lock() =
            Reading { cursor: news.cursor, keys: news.keys, read_at: Some(began), time: now };
        self.0.peers.looked(began);
        Ok(())
    }

    /// What is known already is told to nobody again.
    fn learn(&self, revocations: Vec<Revocation>) {
        let news = self.0.known.insert(revocations);
        if !news.is_empty() {
            // Without watchers there is nobody to tell.
            let _ = self.0.watchers.send(news.into());
        }
    }
}
