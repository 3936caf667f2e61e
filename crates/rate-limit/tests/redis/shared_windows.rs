//! While Redis is there.

use std::{net::Ipv6Addr, time::Duration};

use rate_limit::{Charge, Decision, Limit, RateLimiter, Scope};
use tokio::{task::JoinSet, time::timeout};

use crate::{Fixture, charge, limit, redis_directly};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn parallel_charges_never_exceed_the_quota() {
    let fixture = Fixture::new();
    let replicas = [fixture.limiter.clone(), fixture.replica(), fixture.replica()];
    let mut calls = JoinSet::new();
    for replica in replicas.iter().cycle().take(300) {
        let replica = replica.clone();
        calls.spawn(async move { replica.charge(&[charge(25, "a")]).await.is_allowed() });
    }
    assert_eq!(calls.join_all().await.into_iter().filter(|it| *it).count(), 25);
    assert!(!fixture.is_degraded());
}

#[tokio::test]
async fn what_is_refused_is_charged_nothing() {
    let fixture = Fixture::new();
    let tight = Limit { name: "tight", ..limit(2) };
    let both = [charge(5, "a"), Charge { limit: tight, key: "a".to_owned() }];
    for remaining in [1, 0] {
        let decision = fixture.limiter.charge(&both).await;
        assert!(decision.is_allowed());
        let standing = decision.standing().unwrap();
        assert_eq!((standing.name, standing.remaining), ("tight", remaining));
    }
    for _ in 0..10 {
        let Decision::Refused { standing, retry_after } = fixture.limiter.charge(&both).await else {
            panic!("the tight limit is used up");
        };
        assert_eq!((standing.name, standing.quota, standing.remaining), ("tight", 2, 0));
        assert!(retry_after > tight.window * 9 / 10 && retry_after < tight.window * 12 / 10);
    }
    assert_eq!(fixture.allowed_of(10, &charge(5, "a")).await, 3);
}

#[tokio::test]
async fn refusals_are_counted_by_limit_and_the_series_is_there_before() {
    let fixture = Fixture::new();
    assert_eq!(fixture.metric("rate_limit_block_total"), Some(0.0));
    fixture.allowed_of(5, &charge(2, "a")).await;
    assert_eq!(fixture.metric("rate_limit_block_total"), Some(3.0));
}

#[tokio::test]
async fn keys_and_limits_do_not_share_a_count() {
    let fixture = Fixture::new();
    let other_name = Charge { limit: Limit { name: "other", ..limit(1) }, key: "a".to_owned() };
    let other_window =
        Charge { limit: Limit { window: Duration::from_mins(1), ..limit(1) }, key: "a".to_owned() };
    for each in [charge(1, "a"), charge(1, "b"), other_name, other_window] {
        assert_eq!(fixture.allowed_of(3, &each).await, 1, "{each:?}");
    }
}

#[tokio::test]
async fn after_the_wait_it_is_allowed_again() {
    let fixture = Fixture::new();
    let short =
        Charge { limit: Limit { window: Duration::from_millis(300), ..limit(3) }, key: "a".to_owned() };
    // Redis cannot be told what time it is, so this one waits as a client would.
    let allowed_again = async || {
        let mut allowed = 0;
        loop {
            match fixture.limiter.charge(std::slice::from_ref(&short)).await {
                Decision::Allowed(_) => allowed += 1,
                Decision::Refused { retry_after, .. } => {
                    assert!(retry_after <= Duration::from_millis(330));
                    tokio::time::sleep(retry_after + Duration::from_millis(2)).await;
                    return allowed;
                }
            }
        }
    };
    assert_eq!(allowed_again().await, 3);
    assert!(allowed_again().await > 0);
    assert!(!fixture.is_degraded());
}

#[tokio::test]
async fn log_05_a_thousand_addresses_of_one_64_are_one_key() {
    let fixture = Fixture::new();
    let host = Limit { name: "host", ..limit(10) };
    let network = Limit { name: "network", ..limit(100) };
    let mut allowed = 0;
    for interface in 0..1_000_u64 {
        let scattered = interface.wrapping_mul(0x9E37_79B9_7F4A_7C15);
        let address = Ipv6Addr::from_bits(0x2001_0db8_0001_0002 << 64 | u128::from(scattered)).into();
        let charges = [
            Charge { limit: host, key: Scope::Host.key(address) },
            Charge { limit: network, key: Scope::Neighbourhood.key(address) },
        ];
        allowed += usize::from(fixture.limiter.charge(&charges).await.is_allowed());
    }
    assert_eq!(allowed, 10);
    let mut keys: Vec<_> = fixture.keys().await.into_iter().map(|(key, _)| key).collect();
    keys.sort();
    let prefix = &fixture.settings.key_prefix;
    assert_eq!(
        keys,
        [format!("{prefix}host:600000:2001:db8:1:2::/64"), format!("{prefix}network:600000:2001:db8:1::/48")]
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn log_10_every_key_has_an_expiry_however_calls_end() {
    let fixture = Fixture::new();
    let charges = |n: u64| ["a", "b", "c"].map(|kind| charge(1_000, &format!("{kind}-{}", n % 50)));
    assert!(fixture.limiter.charge(&charges(0)).await.is_allowed());
    // Callers that give up at every stage of a call: before anything is sent, while Redis works, after it answered.
    let mut callers = JoinSet::new();
    for n in 0..400 {
        let limiter = fixture.limiter.clone();
        callers.spawn(async move {
            timeout(Duration::from_micros(n * 50), limiter.charge(&charges(n))).await.is_ok()
        });
    }
    // Replicas that are killed: their connections end with calls under way.
    let mut replicas = JoinSet::new();
    for n in 0..50 {
        let replica = fixture.replica();
        replicas.spawn(async move {
            assert!(replica.charge(&charges(n)).await.is_allowed());
            timeout(Duration::from_micros(n * 100), endless(&replica, &charges(n))).await.unwrap_err();
        });
    }
    let ended = callers.join_all().await;
    assert!(ended.contains(&false) && ended.contains(&true), "some were dropped, some not");
    replicas.join_all().await;

    let keys = fixture.keys().await;
    assert_eq!(keys.len(), 150);
    let longest = 660_000;
    let wrong: Vec<_> = keys.iter().filter(|(_, ttl)| !(1..=longest).contains(ttl)).collect();
    assert!(wrong.is_empty(), "{wrong:?}");
}

async fn endless(limiter: &RateLimiter, charges: &[Charge]) {
    loop {
        let _ = limiter.charge(charges).await;
    }
}

#[tokio::test]
async fn a_value_that_is_no_window_does_not_fail_a_request() {
    let fixture = Fixture::new();
    let key = format!("{}test:600000:a", fixture.settings.key_prefix);
    let mut redis = redis_directly().await;
    redis::cmd("SET").arg(&key).arg("nonsense").arg("PX").arg(60_000).exec_async(&mut redis).await.unwrap();
    assert_eq!(fixture.allowed_of(3, &charge(2, "a")).await, 2);
    redis::cmd("DEL").arg(&key).exec_async(&mut redis).await.unwrap();
    redis::cmd("HSET").arg(&key).arg("a").arg("b").exec_async(&mut redis).await.unwrap();
    assert_eq!(fixture.allowed_of(3, &charge(3, "a")).await, 1, "by its own counts");
    redis::cmd("DEL").arg(&key).exec_async(&mut redis).await.unwrap();
}

#[tokio::test]
async fn a_limiter_that_is_off_allows_everything() {
    let limiter = RateLimiter::off();
    for _ in 0..100 {
        assert_eq!(limiter.charge(&[charge(1, "a")]).await, Decision::Allowed(None));
    }
    assert_eq!(Fixture::new().limiter.charge(&[]).await, Decision::Allowed(None));
}
