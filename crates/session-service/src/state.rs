//! What every use case works with.

use std::sync::Arc;

use access_tokens::{TokenScope, TokenVerifier};
use auth_ids::Uuid;
use chrono::{DateTime, SubsecRound, TimeDelta, Utc};
use clock::SharedClock;
use pg::Database;
use prometheus::{HistogramOpts, HistogramVec, IntCounterVec, Opts, Registry};
use sealing::KeyRing;
use tokio::sync::Semaphore;
use turns::Turns;

use crate::app::{last_seen::LastSeen, revocation_feed::RevocationFeed, signing_keys::SigningKeys};

pub struct App {
    pub database: Database,
    pub clock: SharedClock,
    pub keys: SigningKeys,
    /// Knows the signatures of the tokens that were seen.
    pub verifier: Arc<TokenVerifier>,
    pub feed: RevocationFeed,
    /// Seals the sessions' refresh keys.
    pub key_ring: KeyRing,
    pub scope: TokenScope,
    pub token_ttl: TimeDelta,
    pub last_seen: LastSeen,
    /// By session, and by user where a user's sessions change as a set.
    pub turns: Turns<Uuid>,
    pub wake: outbox::Wake,
    /// How many more may watch revocations.
    pub watchers: Arc<Semaphore>,
    pub metrics: Metrics,
}

impl App {
    /// The time, as precise as Postgres keeps it, so that a session is the same before and after it was stored.
    pub fn now(&self) -> DateTime<Utc> {
        self.clock.now().trunc_subsecs(6)
    }
}

pub struct Metrics {
    pub validate_seconds: HistogramVec,
    pub refreshes: IntCounterVec,
}

impl Metrics {
    pub fn register(registry: &Registry) -> Result<Self, prometheus::Error> {
        let buckets =
            vec![0.00005, 0.0001, 0.00025, 0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.1, 0.5, 1.0];
        let validate_seconds = HistogramVec::new(
            HistogramOpts::new("session_validate_seconds", "How long it took to judge an access token.")
                .buckets(buckets),
            &["outcome"],
        )?;
        let refreshes = IntCounterVec::new(
            Opts::new("session_refreshes_total", "Refresh tokens presented, by what became of them."),
            &["outcome"],
        )?;
        registry.register(Box::new(validate_seconds.clone()))?;
        registry.register(Box::new(refreshes.clone()))?;
        Ok(Self { validate_seconds, refreshes })
    }
}
