//! What is believed and what is not, while session-service is away.

use std::{sync::atomic::Ordering, time::Duration};

use access_tokens::RevocationTarget;
use prometheus::Registry;
use secrecy::ExposeSecret;
use session_verifier::{Demands, Verifier, VerifyError};
use test_support::{Proxy, eventually};
use tokio::time::Instant;

use crate::fake::{Fake, SOON, claims, config, verdict};

/// The lease, and how long the last heartbeat may have been on its way.
const LEASE: Duration = Duration::from_millis(3_250);

/// When the token was believed for the last time.
async fn last_accepted(verifier: &Verifier, token: &str) -> Instant {
    let mut last = Instant::now();
    eventually("the end of the lease", SOON, async || {
        let now = Instant::now();
        match verifier.verify(token) {
            Ok(_) => last = now,
            Err(error) => assert_eq!(error, VerifyError::Unsure),
        }
        (last != now).then_some(())
    })
    .await;
    last
}

fn metric(registry: &Registry, name: &str, outcome: Option<&str>) -> f64 {
    let families = registry.gather();
    let family = families.iter().find(|family| family.name() == name).unwrap();
    let metrics = family.get_metric().iter();
    let metric = metrics.filter(|metric| {
        outcome.is_none_or(|outcome| metric.get_label().iter().any(|label| label.value() == outcome))
    });
    metric.map(|metric| metric.get_counter().get_value() + metric.get_gauge().get_value()).sum()
}

#[tokio::test]
async fn without_heartbeats_every_token_needs_a_question_and_the_metrics_say_so() {
    let fake = Fake::start().await;
    let mut config = fake.config();
    let registry = Registry::new();
    config.registry = Some(registry.clone());
    let verifier = Verifier::connect(config).await.unwrap();
    let (claims, dead) = (claims(), claims());
    let token = fake.mint(&claims);
    fake.revoke(RevocationTarget::Session(dead.sid));
    verdict(&verifier, &fake.mint(&dead), Some(VerifyError::Revoked)).await;
    verifier.verify(&token).unwrap();
    assert!((metric(&registry, "session_verifier_stream_connected", None) - 1.0).abs() < f64::EPSILON);

    fake.state.completes.store(false, Ordering::SeqCst);
    let silent = Instant::now();
    let accepted_for = last_accepted(&verifier, &token).await - silent;
    assert!(accepted_for <= LEASE, "{accepted_for:?}");
    assert!(!verifier.is_current());
    assert_eq!(verifier.verify(&fake.mint(&dead)).unwrap_err(), VerifyError::Revoked);
    fake.answer_active(&claims);
    assert_eq!(verifier.authenticate(&token).await.unwrap().session_id(), claims.sid);
    eventually("another attempt", SOON, async || (fake.opened() >= 2).then_some(())).await;
    assert!(metric(&registry, "session_verifier_asked_total", Some("valid")) >= 1.0);
    assert!(metric(&registry, "session_verifier_verifications_total", Some("unsure")) >= 2.0);
    assert!(metric(&registry, "revocation_stream_lag_seconds", None) >= 2.9);
    assert!(metric(&registry, "session_verifier_stream_connected", None).abs() < f64::EPSILON);

    fake.state.completes.store(true, Ordering::SeqCst);
    fake.end_streams();
    verdict(&verifier, &token, None).await;
    assert!(metric(&registry, "revocation_stream_lag_seconds", None) < 3.0);
}

#[tokio::test]
async fn a_stream_whose_heartbeats_cease_is_given_up_and_made_anew() {
    let fake = Fake::start().await;
    let verifier = fake.verifier().await;
    fake.state.has_heartbeats.store(false, Ordering::SeqCst);
    eventually("a new stream", SOON, async || (fake.opened() >= 2).then_some(())).await;
    fake.state.has_heartbeats.store(true, Ordering::SeqCst);
    verdict(&verifier, &fake.mint(&claims()), None).await;
}

#[tokio::test]
async fn a_revoked_token_is_not_accepted_later_than_the_lease_when_the_stream_is_cut() {
    let fake = Fake::start().await;
    let mut proxy = Proxy::present(&fake.url().into()).await;
    let verifier = connect_through(&proxy).await;
    let claims = claims();
    let token = fake.mint(&claims);
    verifier.verify(&token).unwrap();
    proxy.vanish().await;
    let cut = Instant::now();
    fake.state.snapshot.lock()[0].push(crate::fake::revocation(RevocationTarget::Session(claims.sid)));
    let accepted_for = last_accepted(&verifier, &token).await - cut;
    assert!(accepted_for <= LEASE, "{accepted_for:?}");
    assert_eq!(verifier.authenticate(&token).await.unwrap_err(), VerifyError::Unavailable);
    // Reading may go on.
    assert_eq!(verifier.verify_unconfirmed(&token).unwrap().session_id(), claims.sid);
    proxy.appear().await;
    verdict(&verifier, &token, Some(VerifyError::Revoked)).await;
}

#[tokio::test]
async fn a_connection_into_nowhere_is_left() {
    let fake = Fake::start().await;
    let proxy = Proxy::present(&fake.url().into()).await;
    let verifier = connect_through(&proxy).await;
    let token = fake.mint(&claims());
    proxy.fall_silent();
    let silent = Instant::now();
    let accepted_for = last_accepted(&verifier, &token).await - silent;
    assert!(accepted_for <= LEASE, "{accepted_for:?}");
    let asked = Instant::now();
    assert_eq!(verifier.authenticate(&token).await.unwrap_err(), VerifyError::Unavailable);
    assert!(asked.elapsed() < Duration::from_millis(1_500), "{:?}", asked.elapsed());
    // Only new connections are served: the old one has to be given up.
    proxy.talk_again();
    verdict(&verifier, &token, None).await;
}

#[tokio::test]
async fn a_service_starts_while_session_service_is_away() {
    let fake = Fake::start().await;
    let mut proxy = Proxy::absent(&fake.url().into()).await;
    let mut config = config(proxy.url().expose_secret());
    config.first_contact = Duration::from_millis(200);
    let verifier = Verifier::connect(config).await.unwrap();
    let token = fake.mint(&claims());
    assert_eq!(verifier.verify(&token).unwrap_err(), VerifyError::Unsure);
    assert_eq!(verifier.verify_unconfirmed(&token).unwrap_err(), VerifyError::Unsure);
    assert_eq!(verifier.authenticate(&token).await.unwrap_err(), VerifyError::Unavailable);
    proxy.appear().await;
    verdict(&verifier, &token, None).await;
}

#[tokio::test]
async fn of_two_replicas_one_may_go() {
    let (stays, goes) = (Fake::start().await, Fake::start().await);
    let mut proxy = Proxy::present(&goes.url().into()).await;
    let addresses = format!("{}, {}", proxy.url().expose_secret(), stays.url());
    let verifier = Verifier::connect(config(&addresses)).await.unwrap();
    // Whichever has the stream now.
    goes.end_streams();
    proxy.vanish().await;
    eventually("a stream at the other replica", SOON, async || {
        (stays.streams() == 1 && verifier.is_current()).then_some(())
    })
    .await;
    verdict(&verifier, &stays.mint(&claims()), None).await;
}

/// A verifier of two replicas, at these addresses, that hears `first`. Were the replicas only to take turns, `first` would have the next stream too.
async fn hearing_the_first(first: &Fake, second: &Fake, addresses: &str) -> Verifier {
    let verifier = eventually("a stream at the first replica", SOON, async || {
        let verifier = Verifier::connect(config(addresses)).await.unwrap();
        (verifier.is_current() && first.streams() == 1).then_some(verifier)
    })
    .await;
    let claims = claims();
    let token = first.mint(&claims);
    first.answer_active(&claims);
    second.answer_active(&claims);
    eventually("a question to each, last to the second", SOON, async || {
        let before = second.asked();
        verifier.ask(&token, &Demands::default()).await.unwrap();
        (first.asked() > 0 && second.asked() > before).then_some(())
    })
    .await;
    verifier
}

#[tokio::test]
async fn a_replica_whose_heartbeats_cease_is_left_for_another() {
    let (silent, other) = (Fake::start().await, Fake::start().await);
    let addresses = format!("{},{}", silent.url(), other.url());
    let verifier = hearing_the_first(&silent, &other, &addresses).await;
    let opened = silent.opened();
    silent.state.has_heartbeats.store(false, Ordering::SeqCst);
    eventually("a stream at the other replica", SOON, async || (other.streams() == 1).then_some(())).await;
    assert_eq!(silent.opened(), opened);
    verdict(&verifier, &other.mint(&claims()), None).await;
}

#[tokio::test]
async fn a_connection_into_nowhere_is_left_for_another_replica() {
    let (silent, other) = (Fake::start().await, Fake::start().await);
    // Both have one: the quicker way would have the stream.
    let (proxy, other_way) =
        (Proxy::present(&silent.url().into()).await, Proxy::present(&other.url().into()).await);
    let addresses = format!("{},{}", proxy.url().expose_secret(), other_way.url().expose_secret());
    let verifier = hearing_the_first(&silent, &other, &addresses).await;
    proxy.fall_silent();
    let fell = Instant::now();
    eventually("a stream at the other replica", SOON, async || {
        (other.streams() == 1 && verifier.is_current()).then_some(())
    })
    .await;
    // No attempt at the replica that says nothing had to fail before.
    assert!(fell.elapsed() < LEASE + Duration::from_millis(500), "{:?}", fell.elapsed());
    // Nor does a question.
    let claims = claims();
    other.answer_active(&claims);
    for _ in 0..4 {
        let asked = Instant::now();
        verifier.ask(&other.mint(&claims), &Demands::default()).await.unwrap();
        assert!(asked.elapsed() < Duration::from_millis(250), "{:?}", asked.elapsed());
    }
}

async fn connect_through(proxy: &Proxy) -> Verifier {
    let verifier = Verifier::connect(config(proxy.url().expose_secret())).await.unwrap();
    assert!(verifier.is_current());
    verifier
}
