//! Replicas on a real Redis.

use redis::AsyncCommands;
use secrecy::ExposeSecret;
use test_support::{Proxy, eventually, redis_prefix, redis_url};
use tokio::time::{error::Elapsed, timeout};
use tokio_util::sync::DropGuard;

use super::*;

const DEADLINE: Duration = Duration::from_secs(10);
/// Longer than a signal takes, to see that there is none.
const A_WHILE: Duration = Duration::from_millis(500);

/// A replica that runs until it is dropped.
struct Replica {
    signal: PeerSignal,
    _stop: DropGuard,
}

impl Replica {
    fn new(url: &SecretString, scope: &str) -> Self {
        test_support::install_crypto_provider();
        let signal = PeerSignal::new(Some(url), scope, &Registry::new()).unwrap();
        let stop = CancellationToken::new();
        #[expect(clippy::disallowed_methods, reason = "the task ends with the test")]
        tokio::spawn(signal.clone().run(stop.clone()));
        Self { signal, _stop: stop.drop_guard() }
    }

    fn is_quiet(&self, since: Instant) -> bool {
        self.signal.quiet_since(since)
    }

    async fn until_connected(&self) {
        eventually("a replica that hears", DEADLINE, async || {
            (self.signal.0.connected.get() == 1).then_some(())
        })
        .await;
    }

    async fn heard_within(&self, time: Duration) -> Result<(), Elapsed> {
        timeout(time, self.signal.heard()).await
    }

    /// Takes what was heard already, so that what is heard next is new.
    async fn until_nothing_is_said(&self) {
        while self.heard_within(A_WHILE).await.is_ok() {}
    }
}

/// Replicas that hear, and have heard that the others began.
async fn replicas<const N: usize>(urls: [&SecretString; N]) -> [Replica; N] {
    let scope = redis_prefix();
    let replicas = urls.map(|url| Replica::new(url, &scope));
    for replica in &replicas {
        replica.until_connected().await;
        replica.until_nothing_is_said().await;
    }
    replicas
}

#[tokio::test]
async fn replicas_hear_each_other_and_not_themselves() {
    let redis = redis_url();
    let [one, other] = replicas([&redis, &redis]).await;
    let stranger = Replica::new(&redis, &redis_prefix());
    stranger.until_connected().await;
    stranger.until_nothing_is_said().await;

    for (speaker, listener) in [(&one, &other), (&other, &one)] {
        let before = Instant::now();
        assert!(listener.is_quiet(before));
        speaker.signal.send();
        listener.heard_within(DEADLINE).await.expect("a signal");
        assert!(!listener.is_quiet(before));
        assert!(listener.is_quiet(Instant::now()), "whoever reads now reads the news");
        assert!(speaker.heard_within(A_WHILE).await.is_err(), "it was its own");
        assert!(speaker.is_quiet(before));
    }
    assert!(stranger.heard_within(A_WHILE).await.is_err(), "replicas of another database");
}

#[tokio::test]
async fn a_signal_that_comes_while_nobody_waits_is_not_lost_and_a_burst_is_few() {
    let redis = redis_url();
    let [one, other] = replicas([&redis, &redis]).await;
    let before = Instant::now();
    for _ in 0..1_000 {
        one.signal.send();
    }
    eventually("the signal to arrive", DEADLINE, async || (!other.is_quiet(before)).then_some(())).await;
    other.heard_within(DEADLINE).await.expect("the signal that came before");
    other.until_nothing_is_said().await;
}

#[tokio::test]
async fn without_redis_nothing_is_heard_and_nothing_is_quiet() {
    let signal = PeerSignal::new(None, "none", &Registry::new()).unwrap();
    let stop = CancellationToken::new();
    signal.send();
    let listening = timeout(A_WHILE, async {
        tokio::join!(signal.clone().run(stop.clone()), signal.heard());
    });
    assert!(listening.await.is_err());
    assert!(!signal.quiet_since(Instant::now()));
}

#[tokio::test]
async fn a_url_that_is_none_is_refused() {
    let error = PeerSignal::new(Some(&"s3cr3t".into()), "none", &Registry::new()).err().unwrap();
    assert!(!format!("{error:#}").contains("s3cr3t"));
}

/// That `one`, who was deaf, hears again, and that `other` hears what was to be said meanwhile.
async fn assert_recovery(one: &Replica, other: &Replica, deaf_since: Instant) {
    one.until_connected().await;
    one.heard_within(DEADLINE).await.expect("what was said meanwhile is not known");
    assert!(!one.is_quiet(deaf_since), "the break is not forgotten");
    eventually("what could not be said before", DEADLINE, async || {
        (!other.is_quiet(deaf_since)).then_some(())
    })
    .await;
    one.until_nothing_is_said().await;
    other.until_nothing_is_said().await;
    assert!(one.is_quiet(Instant::now()));
    other.signal.send();
    one.heard_within(DEADLINE).await.expect("a signal");
    one.signal.send();
    other.heard_within(DEADLINE).await.expect("a signal");
}

/// That `one` does not believe for longer than four seconds that it hears.
async fn assert_deaf(one: &Replica) -> Instant {
    let begin = Instant::now();
    let noticed = async || (!one.is_quiet(begin)).then_some(());
    eventually("the silence to be noticed", Duration::from_secs(4), noticed).await;
    begin
}

#[tokio::test]
async fn while_redis_is_away_nothing_is_quiet_and_then_everything_is_heard_again() {
    let mut proxy = Proxy::present(&redis_url()).await;
    let [one, other] = replicas([&proxy.url(), &redis_url()]).await;
    proxy.vanish().await;
    let deaf_since = assert_deaf(&one).await;
    eventually("the gauge to fall", DEADLINE, async || (one.signal.0.connected.get() == 0).then_some(()))
        .await;
    one.signal.send();
    other.signal.send();
    proxy.appear().await;
    assert_recovery(&one, &other, deaf_since).await;
}

#[tokio::test]
async fn while_redis_is_silent_nothing_is_quiet_and_then_everything_is_heard_again() {
    let proxy = Proxy::present(&redis_url()).await;
    let [one, other] = replicas([&proxy.url(), &redis_url()]).await;
    proxy.fall_silent();
    let deaf_since = assert_deaf(&one).await;
    one.signal.send();
    eventually("the gauge to fall", DEADLINE, async || (one.signal.0.connected.get() == 0).then_some(()))
        .await;
    proxy.talk_again();
    assert_recovery(&one, &other, deaf_since).await;
}

#[tokio::test]
async fn a_replica_that_is_cut_off_from_redis_makes_the_others_look() {
    let mut proxy = Proxy::present(&redis_url()).await;
    let [one, other] = replicas([&proxy.url(), &redis_url()]).await;
    let before = Instant::now();
    assert!(other.is_quiet(before));
    proxy.vanish().await;
    one.signal.send();
    other.heard_within(Duration::from_secs(5)).await.expect("the silence of the other one");
    assert!(!other.is_quiet(before), "the one may revoke, and nobody would hear of it");
}

#[tokio::test]
async fn a_flush_loses_nothing() {
    let redis = redis_url();
    let [one, other] = replicas([&redis, &redis]).await;
    let before = Instant::now();
    let client = redis::Client::open(redis.expose_secret()).unwrap();
    let mut connection = client.get_multiplexed_async_connection().await.unwrap();
    // No test of this binary keeps anything in Redis.
    connection.flushall::<()>().await.unwrap();
    assert!(other.is_quiet(before));
    one.signal.send();
    other.heard_within(DEADLINE).await.expect("a signal");
}

#[tokio::test]
async fn what_is_to_be_said_when_the_process_stops_is_said() {
    let redis = redis_url();
    let [one, other] = replicas([&redis, &redis]).await;
    let before = Instant::now();
    one.signal.send();
    drop(one);
    other
        .heard_within(Duration::from_secs(1))
        .await
        .expect("the last words, earlier than the silence after them");
    assert!(!other.is_quiet(before));
}
