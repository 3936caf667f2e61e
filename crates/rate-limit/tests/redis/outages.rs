//! While Redis is away, and when it comes and goes.

use std::time::{Duration, Instant};

use rate_limit::RateLimiter;
use test_support::{Proxy, eventually, redis_url};
use tokio::task::JoinSet;

use crate::{Fixture, charge};

const NOTICED_WITHIN: Duration = Duration::from_secs(20);

impl Fixture {
    /// Each look is a request, since nothing is tried without one.
    async fn until_degraded_is(&self, expected: bool) {
        eventually("the state of Redis to be noticed", NOTICED_WITHIN, async || {
            self.allows(&charge(u32::MAX, "probe")).await;
            (self.is_degraded() == expected).then_some(())
        })
        .await;
    }
}

#[tokio::test]
async fn a_redis_that_is_away_at_the_start_is_used_once_it_is_there() {
    let mut proxy = Proxy::absent(&redis_url()).await;
    let fixture = Fixture::with(proxy.url(), 2);
    assert!(!fixture.is_degraded(), "nobody asked yet");
    assert_eq!(fixture.allowed_of(20, &charge(10, "a")).await, 5, "a share");
    assert!(fixture.is_degraded());
    assert_eq!(fixture.metric("rate_limit_block_total"), Some(15.0));

    proxy.appear().await;
    fixture.until_degraded_is(false).await;
    let fixture = fixture.patient();
    assert_eq!(fixture.allowed_of(20, &charge(10, "b")).await, 10, "all of it");
    let key = format!("{}test:600000:b", fixture.settings.key_prefix);
    assert!(fixture.keys().await.iter().any(|(name, _)| *name == key));
}

#[tokio::test]
async fn a_redis_that_goes_away_leaves_each_replica_its_share_and_finds_its_counts_when_it_is_back() {
    let mut proxy = Proxy::present(&redis_url()).await;
    let fixture = Fixture::with(proxy.url(), 2).patient();
    assert_eq!(fixture.allowed_of(3, &charge(10, "a")).await, 3);
    assert!(!fixture.is_degraded());

    proxy.vanish().await;
    assert_eq!(fixture.allowed_of(20, &charge(10, "a")).await, 2, "what is left of a share of five");
    assert!(fixture.is_degraded());

    proxy.appear().await;
    fixture.until_degraded_is(false).await;
    assert_eq!(fixture.allowed_of(20, &charge(10, "a")).await, 7, "Redis knows of the first three");
}

#[tokio::test]
async fn a_connection_that_fell_silent_is_replaced() {
    let proxy = Proxy::present(&redis_url()).await;
    let fixture = Fixture::with(proxy.url(), 1);
    fixture.until_degraded_is(false).await;
    proxy.fall_silent();
    fixture.until_degraded_is(true).await;
    proxy.talk_again();
    fixture.until_degraded_is(false).await;
}

#[tokio::test]
async fn who_asks_a_redis_that_is_silent_waits_for_the_deadline_and_the_others_do_not_wait() {
    let proxy = Proxy::present(&redis_url()).await;
    proxy.fall_silent();
    let fixture = Fixture::with(proxy.url(), 1);
    let begin = Instant::now();
    let waits = waits_of(200, &fixture.limiter).await;
    assert!(waits.iter().all(|wait| *wait < Duration::from_secs(1)), "{waits:?}");
    assert!(fixture.is_degraded());

    // Within the next seconds one of each second's calls waits, and the others do nothing but count.
    let mut waits = Vec::new();
    while begin.elapsed() < Duration::from_secs(3) {
        waits.extend(waits_of(200, &fixture.limiter).await);
    }
    let waited = waits.iter().filter(|wait| **wait >= Duration::from_millis(100)).count();
    assert!(waited * 100 < waits.len(), "{waited} of {} calls waited", waits.len());
    assert!(waits.iter().all(|wait| *wait < Duration::from_secs(1)));
}

async fn waits_of(calls: usize, limiter: &RateLimiter) -> Vec<Duration> {
    let mut under_way = JoinSet::new();
    for _ in 0..calls {
        let limiter = limiter.clone();
        under_way.spawn(async move {
            let begin = Instant::now();
            assert!(limiter.charge(&[charge(u32::MAX, "a")]).await.is_allowed());
            begin.elapsed()
        });
    }
    under_way.join_all().await
}

#[tokio::test]
async fn a_probe_whose_caller_went_away_is_followed_by_another() {
    let mut proxy = Proxy::absent(&redis_url()).await;
    let fixture = Fixture::with(proxy.url(), 1);
    fixture.until_degraded_is(true).await;
    proxy.appear().await;
    let begin = Instant::now();
    // A second after the failure one of these is the probe.
    eventually("a probe to be dropped", NOTICED_WITHIN, async || {
        let probe = charge(u32::MAX, "a");
        tokio::select! {
            biased;
            _ = fixture.allows(&probe) => {}
            () = std::future::ready(()) => {}
        }
        (begin.elapsed() > Duration::from_millis(1_100)).then_some(())
    })
    .await;
    assert!(fixture.is_degraded(), "it was dropped at its first step");
    fixture.until_degraded_is(false).await;
}
