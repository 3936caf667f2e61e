#![expect(clippy::unwrap_used, reason = "a test may panic")]

mod outages;
mod shared_windows;

use std::{num::NonZeroU32, time::Duration};

use prometheus::Registry;
use rate_limit::{Charge, Limit, RateLimitSettings, RateLimiter};
use redis::aio::MultiplexedConnection;
use secrecy::{ExposeSecret, SecretString};

/// A limiter with a registry and a prefix of its own.
struct Fixture {
    settings: RateLimitSettings,
    registry: Registry,
    limiter: RateLimiter,
}

impl Fixture {
    fn new() -> Self {
        Self::with(test_support::redis_url(), 1).patient()
    }

    /// Waits longer for Redis than a service would, since the machine of a test may be busy.
    fn patient(self) -> Self {
        Self::of(RateLimitSettings { redis_deadline: Duration::from_secs(5), ..self.settings })
    }

    fn with(redis_url: SecretString, replicas: u32) -> Self {
        let replicas = NonZeroU32::new(replicas).unwrap();
        let prefix = test_support::redis_prefix();
        Self::of(RateLimitSettings::new(redis_url, &prefix, replicas, &["test"]))
    }

    fn of(settings: RateLimitSettings) -> Self {
        let registry = Registry::new();
        let limiter = RateLimiter::new(&settings, &registry).unwrap();
        Self { settings, registry, limiter }
    }

    /// Another replica with the same counts.
    fn replica(&self) -> RateLimiter {
        RateLimiter::new(&self.settings, &Registry::new()).unwrap()
    }

    async fn allows(&self, charge: &Charge) -> bool {
        self.limiter.charge(std::slice::from_ref(charge)).await.is_allowed()
    }

    /// How many of `times` charges one after the other are allowed.
    async fn allowed_of(&self, times: usize, charge: &Charge) -> usize {
        let mut allowed = 0;
        for _ in 0..times {
            allowed += usize::from(self.allows(charge).await);
        }
        allowed
    }

    /// The value of a metric, whatever its labels.
    fn metric(&self, name: &str) -> Option<f64> {
        let family = self.registry.gather().into_iter().find(|it| it.name() == name)?;
        let metric = family.get_metric().first()?;
        Some(metric.get_counter().get_value() + metric.get_gauge().get_value())
    }

    fn is_degraded(&self) -> bool {
        self.metric("rate_limit_degraded") == Some(1.0)
    }

    /// Every key in Redis with its time to live in milliseconds.
    async fn keys(&self) -> Vec<(String, i64)> {
        let mut redis = redis_directly().await;
        let mut found = Vec::new();
        let mut cursor = 0_u64;
        loop {
            let mut scan = redis::cmd("SCAN");
            scan.arg(cursor)
                .arg("MATCH")
                .arg(format!("{}*", self.settings.key_prefix))
                .arg("COUNT")
                .arg(1000);
            let (next, keys): (u64, Vec<String>) = scan.query_async(&mut redis).await.unwrap();
            for key in keys {
                let ttl = redis::cmd("PTTL").arg(&key).query_async(&mut redis).await.unwrap();
                found.push((key, ttl));
            }
            if next == 0 {
                return found;
            }
            cursor = next;
        }
    }
}

async fn redis_directly() -> MultiplexedConnection {
    let client = redis::Client::open(test_support::redis_url().expose_secret()).unwrap();
    client.get_multiplexed_async_connection().await.unwrap()
}

fn limit(quota: u32) -> Limit {
    Limit { name: "test", quota, window: Duration::from_mins(10) }
}

fn charge(quota: u32, key: &str) -> Charge {
    Charge { limit: limit(quota), key: key.to_owned() }
}
