use std::{sync::Arc, time::Duration};

use auth_proto::session::v1::{
    GetPublicKeysRequest, InactiveReason, PublicKey, RotateKeysRequest, RotateKeysResponse,
};
use chrono::{DateTime, TimeDelta, Utc};
use clock::ManualClock;
use test_support::eventually;
use tonic::{Code, Status};

use crate::harness::{
    DEADLINE, OTHER_KEYS, Running, Setup, begin, execute, facts, login, new_database, new_user, now, query,
    reason, start, start_two,
};

/// Without a signal from the others, a replica hears of another key within two seconds.
pub const HEARD: Duration = Duration::from_secs(3);
/// For how long a key is published before it signs, and how long the ones before it verify after that, in seconds.
const PUBLISHED_FOR: i64 = 15 * 60;
const VERIFIES_FOR: i64 = 16 * 60;

pub async fn public_keys(service: &Running) -> Vec<PublicKey> {
    service.client.clone().get_public_keys(GetPublicKeysRequest {}).await.unwrap().into_inner().keys
}

pub async fn kids(service: &Running) -> Vec<String> {
    public_keys(service).await.into_iter().map(|key| key.kid).collect()
}

pub async fn rotate(service: &Running, drop_current: bool) -> Result<PublicKey, Status> {
    let request = RotateKeysRequest { drop_current, reason: "drill".to_owned() };
    let answer = service.client.clone().rotate_keys(request).await?;
    let RotateKeysResponse { key } = answer.into_inner();
    Ok(key.unwrap())
}

pub fn time(timestamp: Option<prost_types::Timestamp>) -> DateTime<Utc> {
    let timestamp = timestamp.unwrap();
    DateTime::from_timestamp(timestamp.seconds, u32::try_from(timestamp.nanos).unwrap()).unwrap()
}

/// Which key signed the token.
pub fn kid_of(token: &str) -> String {
    use pasetors::{Public, token::UntrustedToken, version4::V4};
    let token = UntrustedToken::<Public, V4>::try_from(token).unwrap();
    let footer: serde_json::Value = serde_json::from_slice(token.untrusted_footer()).unwrap();
    footer.get("kid").and_then(serde_json::Value::as_str).unwrap().to_owned()
}

#[tokio::test(flavor = "multi_thread")]
async fn instances_that_start_at_once_agree_on_one_first_key() {
    let database = new_database().await;
    let (one, other) = tokio::join!(Setup::on(&database).start_ready(), Setup::on(&database).start_ready());
    let keys = public_keys(&one).await;
    assert_eq!(keys.len(), 1);
    assert_eq!(keys, public_keys(&other).await);
    assert!(keys[0].paserk.starts_with("k4.public."));

    let told = facts(&database, "auth.system.key_rotated").await;
    assert_eq!(told.len(), 1);
    assert_eq!(told[0]["data"]["detail"]["kid"], keys[0].kid.as_str());
    assert_eq!(
        (&told[0]["data"]["reason"], &told[0]["data"]["severity"]),
        (&"first_key".into(), &"info".into())
    );

    let token = one.create(&new_user()).await.access_token;
    assert!(other.validate(&token).await.active);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_key_that_another_instance_made_is_found_when_a_token_names_it() {
    let database = new_database().await;
    let old = Setup::on(&database).start_ready().await;
    execute(&database, "DELETE FROM signing_keys").await;
    let new = Setup::on(&database).start_ready().await;
    assert_ne!(public_keys(&old).await, public_keys(&new).await);
    let token = new.create(&new_user()).await.access_token;
    assert!(old.validate(&token).await.active);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_instance_with_other_keys_verifies_and_does_not_sign() {
    let database = new_database().await;
    let good = Setup::on(&database).start_ready().await;
    let token = good.create(&new_user()).await.access_token;

    let wrong = Setup { keys: OTHER_KEYS, ..Setup::on(&database) }.start().await;
    eventually("the key to be known", DEADLINE, || async {
        wrong.validate(&token).await.active.then_some(())
    })
    .await;
    let status = wrong.client.clone().create_session(login(&new_user())).await.unwrap_err();
    assert_eq!(reason(&status), (Code::Unavailable, "signing_key_unavailable".to_owned()));
    let report = wrong.lifecycle.readiness().report().await;
    assert!(report.checks.iter().any(|check| check.name == "signing_key" && check.required && !check.ok));
    assert_eq!(public_keys(&good).await.len(), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_rotation_publishes_signs_and_retires() {
    let (database, service) = start().await;
    let old = kids(&service).await.remove(0);
    let next = rotate(&service, false).await.unwrap();
    assert_eq!((time(next.not_before) - now(&service)).num_seconds(), PUBLISHED_FOR);

    // Published, and nothing more.
    let mut published = public_keys(&service).await;
    published.sort_by_key(|key| time(key.not_before));
    assert_eq!(published[1], next);
    assert_eq!((time(published[0].retire_at) - now(&service)).num_seconds(), PUBLISHED_FOR + VERIFIES_FOR);
    assert_eq!(kid_of(&service.create(&new_user()).await.access_token), old);
    let status = rotate(&service, false).await.unwrap_err();
    assert_eq!(reason(&status), (Code::FailedPrecondition, "rotation_pending".to_owned()));
    service.advance(PUBLISHED_FOR - 1);
    let last = service.create(&new_user()).await.access_token;
    assert_eq!(kid_of(&last), old);

    service.advance(1);
    let first = service.create(&new_user()).await.access_token;
    assert_eq!(kid_of(&first), next.kid);
    assert!(service.validate(&last).await.active && service.validate(&first).await.active);

    service.advance(VERIFIES_FOR);
    assert_eq!(kids(&service).await, std::slice::from_ref(&next.kid));
    let told = facts(&database, "auth.system.key_rotated").await;
    let (data, detail) = (&told[1]["data"], &told[1]["data"]["detail"]);
    assert_eq!((&data["reason"], &data["severity"]), (&"drill".into(), &"info".into()));
    assert_eq!(detail["kid"], next.kid.as_str());
    assert_eq!(
        detail["signsFrom"].as_str().unwrap().parse::<DateTime<Utc>>().unwrap(),
        time(next.not_before)
    );
    assert_eq!(detail.get("dropped"), None);
    rotate(&service, false).await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn dropped_keys_take_every_token_with_them_and_clients_refresh() {
    let (database, one, other) = start_two().await;
    let tokens = one.create(&new_user()).await;
    let pending = rotate(&one, false).await.unwrap();
    let mut before = kids(&one).await;
    before.sort();
    // The answers come from memory.
    assert!(
        one.validate(&tokens.access_token).await.active && other.validate(&tokens.access_token).await.active
    );

    let next = rotate(&one, true).await.unwrap();
    assert!(time(next.not_before) <= now(&one));
    assert_eq!(one.validate(&tokens.access_token).await.reason(), InactiveReason::Invalid);
    assert_eq!(kids(&one).await, std::slice::from_ref(&next.kid));
    assert_ne!(next.kid, pending.kid);
    eventually("the other replica to have dropped the key", HEARD, || async {
        (!other.validate(&tokens.access_token).await.active).then_some(())
    })
    .await;
    assert_eq!(kids(&other).await, std::slice::from_ref(&next.kid));

    for (service, peer) in [(&one, &other), (&other, &one)] {
        let refreshed = service.refresh(&tokens.refresh_token).await.unwrap();
        assert_eq!(kid_of(&refreshed.access_token), next.kid);
        assert!(service.validate(&refreshed.access_token).await.active);
        assert!(peer.validate(&refreshed.access_token).await.active);
    }
    let told = facts(&database, "auth.system.key_rotated").await;
    let data = &told.last().unwrap()["data"];
    assert_eq!((&data["severity"], &data["reason"]), (&"critical".into(), &"drill".into()));
    let mut dropped: Vec<String> = serde_json::from_value(data["detail"]["dropped"].clone()).unwrap();
    dropped.sort();
    assert_eq!(dropped, before);
    // The next one takes the usual way.
    rotate(&other, false).await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_dropped_key_is_dropped_by_a_replica_whose_clock_is_behind() {
    let database = new_database().await;
    let service = Setup::on(&database).start_ready().await;
    let clock = Arc::new(ManualClock::new(begin() - TimeDelta::seconds(90)));
    let behind = Setup { clock, ..Setup::on(&database) }.start().await;
    let token = service.create(&new_user()).await;
    let next = rotate(&service, true).await.unwrap();
    let sign = async || behind.refresh(&token.refresh_token).await.ok();
    let refreshed = eventually("the new key to sign there", HEARD, async || {
        sign().await.filter(|tokens| kid_of(&tokens.access_token) == next.kid)
    })
    .await;
    assert!(service.validate(&refreshed.access_token).await.active);
    assert!(!behind.validate(&token.access_token).await.active);
}

#[tokio::test(flavor = "multi_thread")]
async fn replicas_rotate_on_schedule_and_only_once() {
    let database = new_database().await;
    let first = Setup::on(&database).start_ready().await;
    let clock = Arc::clone(&first.clock);
    let replica = || Setup { clock: Arc::clone(&clock), ..Setup::on(&database) }.start_ready();
    clock.advance(TimeDelta::days(90) - TimeDelta::seconds(PUBLISHED_FOR + 1));
    let early = replica().await;
    let old = kids(&early).await;
    assert_eq!(old.len(), 1);
    // Both look at the clock when they start.
    clock.advance(TimeDelta::seconds(1));
    let (one, other) = tokio::join!(replica(), replica());
    for service in [&first, &early, &one, &other] {
        eventually("the next key", HEARD, || async { (kids(service).await.len() == 2).then_some(()) }).await;
    }
    let told = facts(&database, "auth.system.key_rotated").await;
    assert_eq!(told.len(), 2);
    assert_eq!(told[1]["data"]["reason"], "scheduled");
    let next = told[1]["data"]["detail"]["kid"].as_str().unwrap();

    one.advance(PUBLISHED_FOR);
    for service in [&one, &other] {
        assert_eq!(kid_of(&service.create(&new_user()).await.access_token), next);
    }
    // A key that nobody will ask for any more is deleted.
    one.advance(VERIFIES_FOR);
    clock.advance(TimeDelta::days(30));
    let _late = replica().await;
    eventually("the old key to be deleted", DEADLINE, || async {
        (query(&database, "SELECT kid AS text FROM signing_keys").await == [next]).then_some(())
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn rotating_is_refused_without_a_reason_that_is_one_and_where_no_key_opens() {
    let database = new_database().await;
    let good = Setup::on(&database).start_ready().await;
    let request = RotateKeysRequest { drop_current: false, reason: "Because!".to_owned() };
    let status = good.client.clone().rotate_keys(request).await.unwrap_err();
    assert_eq!(reason(&status), (Code::InvalidArgument, "invalid_request".to_owned()));

    // What is sealed there would open nowhere else.
    let wrong = Setup { keys: OTHER_KEYS, ..Setup::on(&database) }.start().await;
    let status = rotate(&wrong, false).await.unwrap_err();
    assert_eq!(reason(&status), (Code::Unavailable, "signing_key_unavailable".to_owned()));
    assert_eq!(kids(&good).await.len(), 1);
    // But if the key is lost for good, this is the way out.
    let next = rotate(&wrong, true).await.unwrap();
    assert_eq!(kid_of(&wrong.create(&new_user()).await.access_token), next.kid);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_monitor_sees_the_age_and_the_states_of_the_keys() {
    let (_database, service) = start().await;
    rotate(&service, false).await.unwrap();
    service.advance(PUBLISHED_FOR + 30);
    let metrics = telemetry::metrics::encode(&service.registry).unwrap();
    for line in [
        "signing_key_age_seconds 30",
        r#"signing_keys{state="signs"} 1"#,
        r#"signing_keys{state="verifies"} 1"#,
        r#"signing_keys{state="published"} 0"#,
        r#"signing_keys{state="retired"} 0"#,
    ] {
        assert!(metrics.contains(line), "{line} in {metrics}");
    }
}
