//! What one replica revokes and another has to know, with Redis and without.

use std::time::{Duration, Instant};

use auth_proto::session::v1::{
    RevokeSessionRequest, Tokens, ValidateRequest, ValidateResponse, revoke_session_request::Target,
};
use secrecy::SecretString;
use test_support::{Proxy, TestDatabase, eventually, redis_url};
use tokio::time::sleep;
use tonic::{Code, Status};

use crate::harness::{DEADLINE, Running, Setup, new_database, new_user};

/// How long a replica trusts what it read from PostgreSQL when it does not hear the others, and more.
const LONGER_THAN_TRUSTED: Duration = Duration::from_secs(6);

/// A gauge of the service.
fn metric(service: &Running, name: &str) -> f64 {
    let families = service.registry.gather();
    let family = families.iter().find(|family| family.name() == name).expect("the metric");
    family.get_metric().first().expect("its value").get_gauge().get_value()
}

async fn until_connected(service: &Running) {
    eventually("the replica to hear the others", DEADLINE, || async {
        (metric(service, "peer_signal_connected") > 0.5).then_some(())
    })
    .await;
}

/// Two replicas that share a clock, warmed up.
async fn replicas(database: &TestDatabase, redis_url: Option<SecretString>) -> (Running, Running) {
    let one = Setup { redis_url: redis_url.clone(), ..Setup::on(database) }.start_ready().await;
    let clock = one.clock.clone();
    let other = Setup { redis_url: redis_url.clone(), clock, ..Setup::on(database) }.start_ready().await;
    tokio::join!(one.warm_up(), other.warm_up());
    if redis_url.is_some() {
        tokio::join!(until_connected(&one), until_connected(&other));
    }
    (one, other)
}

async fn ask(service: &Running, access_token: &str) -> Result<ValidateResponse, Status> {
    let request = ValidateRequest { access_token: access_token.to_owned(), ..ValidateRequest::default() };
    service.client.clone().validate(request).await.map(tonic::Response::into_inner)
}

async fn revoke(service: &Running, tokens: &Tokens) {
    let target = Some(Target::AccessToken(tokens.access_token.clone()));
    let request = RevokeSessionRequest { target, ..RevokeSessionRequest::default() };
    service.client.clone().revoke_session(request).await.unwrap();
}

/// How long after `one` has answered that a token is revoked `other` still honours it.
async fn delay(one: &Running, other: &Running) -> Duration {
    let tokens = one.create(&new_user()).await;
    assert!(other.validate(&tokens.access_token).await.active);
    revoke(one, &tokens).await;
    let begin = Instant::now();
    while other.validate(&tokens.access_token).await.active {
        assert!(begin.elapsed() < DEADLINE, "the revocation never arrives");
        sleep(Duration::from_millis(1)).await;
    }
    begin.elapsed()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_revocation_reaches_the_other_replicas_at_once_through_redis() {
    let database = new_database().await;
    let (one, other) = replicas(&database, Some(redis_url())).await;
    let mut delays = Vec::new();
    for _ in 0..20 {
        delays.push(delay(&one, &other).await);
    }
    delays.sort();
    println!(
        "a revocation is honoured elsewhere after {:?} (median), {:?} (longest)",
        delays[10], delays[19]
    );
    assert!(delays[19] < Duration::from_millis(500), "{delays:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_revocation_reaches_the_other_replicas_without_redis() {
    let database = new_database().await;
    let (one, other) = replicas(&database, None).await;
    let delay = delay(&one, &other).await;
    println!("without Redis a revocation is honoured elsewhere after {delay:?}");
    assert!(delay < Duration::from_secs(5), "{delay:?}");
}

/// A replica whose PostgreSQL went away just after it has read it and seen a token.
async fn cut_off(database: &TestDatabase, redis_url: Option<SecretString>) -> (Proxy, Running, Tokens) {
    let mut proxy = Proxy::present(&database.app_url()).await;
    let hears = redis_url.is_some();
    let service = Setup { redis_url, ..Setup::at(proxy.url()) }.start_ready().await;
    if hears {
        until_connected(&service).await;
    }
    let tokens = service.create(&new_user()).await;
    assert!(service.validate(&tokens.access_token).await.active);
    // The feed reads every two seconds: after three it has read since it hears.
    sleep(Duration::from_secs(3)).await;
    proxy.vanish().await;
    (proxy, service, tokens)
}

#[tokio::test(flavor = "multi_thread")]
async fn while_postgresql_is_away_good_tokens_stay_good_as_long_as_the_other_replicas_would_be_heard() {
    let database = new_database().await;
    let (_proxy, service, tokens) = cut_off(&database, Some(redis_url())).await;
    let begin = Instant::now();
    while begin.elapsed() < LONGER_THAN_TRUSTED + Duration::from_secs(2) {
        let answer = ask(&service, &tokens.access_token).await;
        assert!(answer.as_ref().is_ok_and(|answer| answer.active), "{:?}: {answer:?}", begin.elapsed());
        sleep(Duration::from_millis(100)).await;
    }

    // A replica that begins may have news.
    let clock = service.clock.clone();
    let other = Setup { redis_url: Some(redis_url()), clock, ..Setup::on(&database) }.start_ready().await;
    revoke(&other, &tokens).await;
    eventually("the token to be honoured no more", DEADLINE, || async {
        ask(&service, &tokens.access_token)
            .await
            .is_err_and(|status| status.code() == Code::Unavailable)
            .then_some(())
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn while_postgresql_is_away_and_nobody_would_be_heard_nobody_is_told_that_a_token_is_good() {
    let database = new_database().await;
    let (mut proxy, service, tokens) = cut_off(&database, None).await;
    sleep(LONGER_THAN_TRUSTED).await;
    let status = ask(&service, &tokens.access_token).await.unwrap_err();
    assert_eq!(status.code(), Code::Unavailable);

    proxy.appear().await;
    eventually("the token to be honoured again", DEADLINE, || async {
        ask(&service, &tokens.access_token).await.ok().filter(|answer| answer.active)
    })
    .await;
}
