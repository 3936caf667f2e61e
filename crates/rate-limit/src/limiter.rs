use std::{fmt, num::NonZeroU32, sync::Arc, time::Duration};

use parking_lot::Mutex;
use prometheus::Registry;
use secrecy::SecretString;
use tokio::time::Instant;
use tracing::{info, warn};

use crate::{
    breaker::{Breaker, Permit},
    decision::Decision,
    limit::Charge,
    metrics::Metrics,
    own_windows::OwnWindows,
    shared_windows::{NoAnswer, SharedWindows},
};

/// Where the shared counts are, and how many share them.
#[derive(Debug, Clone)]
pub struct RateLimitSettings {
    /// `redis://` or, with TLS and the certificate authorities of the system, `rediss://`.
    pub redis_url: SecretString,
    /// What each key in Redis begins with.
    pub key_prefix: String,
    /// How many replicas divide a limit among themselves while Redis is away.
    pub replicas: NonZeroU32,
    /// The names of the limits that will be charged, whose metrics are shown from the start.
    pub limits: &'static [&'static str],
    /// How long a call waits for Redis, a new connection included.
    pub redis_deadline: Duration,
}

impl RateLimitSettings {
    /// Settings with the deadline that every service has: 100 ms.
    #[must_use]
    pub fn new(
        redis_url: SecretString,
        key_prefix: &str,
        replicas: NonZeroU32,
        limits: &'static [&'static str],
    ) -> Self {
        let key_prefix = key_prefix.to_owned();
        Self { redis_url, key_prefix, replicas, limits, redis_deadline: Duration::from_millis(100) }
    }
}

/// A limiter could not be made.
#[derive(Debug, thiserror::Error)]
pub enum SetupError {
    /// The URL is not one of a Redis.
    #[error("the URL of Redis cannot be understood")]
    Url(#[source] redis::RedisError),
    /// The registry has metrics of these names already.
    #[error("the metrics cannot be registered")]
    Metrics(#[from] prometheus::Error),
}

/// Decides whether something may happen once more. A clone is the same limiter.
#[derive(Clone)]
pub struct RateLimiter(Option<Arc<Limiter>>);

struct Limiter {
    /// None where every replica counts for itself.
    shared: Option<SharedWindows>,
    breaker: Breaker,
    own: Mutex<OwnWindows>,
    /// When the time of the own windows began.
    began: Instant,
    replicas: u32,
    metrics: Metrics,
}

impl RateLimiter {
    /// A limiter whose counts are in Redis. It connects when it is first asked.
    pub fn new(settings: &RateLimitSettings, registry: &Registry) -> Result<Self, SetupError> {
        let shared = SharedWindows::new(settings).map_err(SetupError::Url)?;
        Self::with_windows(Some(shared), settings.replicas, settings.limits, registry)
    }

    /// A limiter for where there is no Redis: each of `replicas` counts for itself, within its share of the `limits` of these names.
    pub fn without_redis(
        replicas: NonZeroU32,
        limits: &'static [&'static str],
        registry: &Registry,
    ) -> Result<Self, SetupError> {
        Self::with_windows(None, replicas, limits, registry)
    }

    fn with_windows(
        shared: Option<SharedWindows>,
        replicas: NonZeroU32,
        limits: &'static [&'static str],
        registry: &Registry,
    ) -> Result<Self, SetupError> {
        let metrics = Metrics::register(registry, limits)?;
        metrics.degraded.set(i64::from(shared.is_none()));
        let limiter = Limiter {
            shared,
            breaker: Breaker::new(),
            own: Mutex::new(OwnWindows::new()),
            began: Instant::now(),
            replicas: replicas.get(),
            metrics,
        };
        Ok(Self(Some(Arc::new(limiter))))
    }

    /// A limiter that allows everything, and has no metrics.
    #[must_use]
    pub fn off() -> Self {
        Self(None)
    }

    /// Charges one unit of each, if all of them allow it. Two of the same limit and key are one.
    pub async fn charge(&self, charges: &[Charge]) -> Decision {
        let decision = self.charge_uncounted(charges).await;
        if let (Some(limiter), Decision::Refused { standing, .. }) = (&self.0, &decision) {
            limiter.metrics.count_refused(standing.name);
        }
        decision
    }

    /// The same for what is not a request of anybody: a refusal is not counted in the metrics.
    pub async fn charge_uncounted(&self, charges: &[Charge]) -> Decision {
        match &self.0 {
            Some(limiter) if !charges.is_empty() => limiter.decide(&distinct(charges)).await,
            _ => Decision::Allowed(None),
        }
    }
}

impl fmt::Debug for RateLimiter {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(if self.0.is_some() { "RateLimiter" } else { "RateLimiter(off)" })
    }
}

impl Limiter {
    async fn decide(&self, charges: &[Charge]) -> Decision {
        if let Some(shared) = &self.shared
            && let Some(permit) = self.breaker.permit(Instant::now())
        {
            match shared.charge(charges).await {
                Ok(decision) => {
                    self.redis_is_there(permit);
                    if decision.is_allowed() {
                        self.own.lock().record(charges, self.now());
                    }
                    return decision;
                }
                Err(error) => self.redis_is_away(&error),
            }
        }
        self.own.lock().charge(charges, self.replicas, self.now())
    }

    fn redis_is_there(&self, permit: Permit) {
        if self.breaker.succeeded(permit) {
            self.metrics.degraded.set(0);
            info!("Redis is back: limits are shared again");
        }
    }

    fn redis_is_away(&self, error: &NoAnswer) {
        let begins = self.breaker.failed(Instant::now());
        // Each time, since a request that saw Redis again may just be clearing it.
        self.metrics.degraded.set(1);
        if begins {
            warn!(%error, "Redis is away: each replica limits by its own counts");
        }
    }

    fn now(&self) -> u64 {
        u64::try_from(self.began.elapsed().as_millis()).unwrap_or(u64::MAX)
    }
}

fn distinct(charges: &[Charge]) -> Vec<Charge> {
    let mut distinct: Vec<Charge> = Vec::with_capacity(charges.len());
    for charge in charges {
        let same = |it: &Charge| it.window_key() == charge.window_key();
        if !distinct.iter().any(same) {
            distinct.push(charge.clone());
        }
    }
    distinct
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::limit::Limit;

    #[test]
    fn the_same_charge_twice_is_one() {
        let limit = Limit { name: "test", quota: 1, window: Duration::from_secs(1) };
        let a = Charge { limit, key: "a".to_owned() };
        let b = Charge { limit, key: "b".to_owned() };
        assert_eq!(distinct(&[a.clone(), b.clone(), a.clone()]), [a, b]);
    }

    #[test]
    fn redis_may_be_far_away_and_encrypted() {
        let settings = RateLimitSettings::new("rediss://redis.invalid/2".into(), "", NonZeroU32::MIN, &[]);
        RateLimiter::new(&settings, &Registry::new()).unwrap();
    }

    #[test]
    fn a_wrong_url_is_refused_and_not_shown() {
        let settings = RateLimitSettings::new("http://user:secret@host".into(), "", NonZeroU32::MIN, &[]);
        let error = RateLimiter::new(&settings, &Registry::new()).unwrap_err();
        assert!(matches!(error, SetupError::Url(_)));
        assert!(!format!("{error:?} {error}").contains("secret"));
    }
}
