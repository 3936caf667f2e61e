//! Redis loses everything. This test is alone in its binary, since it takes everything from the others too.

use std::{num::NonZeroU32, time::Duration};

use prometheus::Registry;
use rate_limit::{Charge, Limit, RateLimitSettings, RateLimiter};
use secrecy::ExposeSecret;

#[tokio::test]
async fn a_flush_resets_the_shared_windows_and_nothing_else() {
    let redis_url = test_support::redis_url();
    let client = redis::Client::open(redis_url.expose_secret()).unwrap();
    let mut redis = client.get_multiplexed_async_connection().await.unwrap();
    let prefix = test_support::redis_prefix();
    let settings = RateLimitSettings {
        redis_deadline: Duration::from_secs(5),
        ..RateLimitSettings::new(redis_url, &prefix, NonZeroU32::MIN, &["test"])
    };
    let registry = Registry::new();
    let limiter = RateLimiter::new(&settings, &registry).unwrap();
    let charge = Charge {
        limit: Limit { name: "test", quota: 3, window: Duration::from_mins(10) },
        key: "a".to_owned(),
    };
    let allowed_of_five = async || {
        let mut allowed = 0;
        for _ in 0..5 {
            allowed += usize::from(limiter.charge(std::slice::from_ref(&charge)).await.is_allowed());
        }
        allowed
    };

    assert_eq!(allowed_of_five().await, 3);
    redis::cmd("FLUSHALL").exec_async(&mut redis).await.unwrap();
    assert_eq!(allowed_of_five().await, 3, "a new window");
    // A restart forgets the script too.
    redis::cmd("SCRIPT").arg("FLUSH").exec_async(&mut redis).await.unwrap();
    redis::cmd("FLUSHALL").exec_async(&mut redis).await.unwrap();
    assert_eq!(allowed_of_five().await, 3, "another one");

    let metrics = registry.gather();
    let degraded = metrics.iter().find(|it| it.name() == "rate_limit_degraded").unwrap();
    assert!(
        degraded.get_metric().iter().all(|it| it.get_gauge().get_value() < 0.5),
        "Redis was there all the time"
    );
}
