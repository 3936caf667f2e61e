use auth_proto::session::v1::{CreateSessionRequest, InactiveReason, ValidateRequest};
use prost_types::{Duration, Timestamp};
use test_support::{TestDatabase, eventually};
use tonic::Code;

use crate::harness::{DEADLINE, Running, login, new_user, now, query, reason, start, stopped_during};

async fn ask(service: &Running, request: ValidateRequest) -> InactiveReason {
    let answer = service.client.clone().validate(request).await.unwrap().into_inner();
    assert_eq!(answer.active, answer.reason() == InactiveReason::Unspecified);
    assert_eq!(answer.active, answer.claims.is_some());
    answer.reason()
}

/// Waits until the only session was last seen at `wanted`, in seconds.
async fn until_last_seen(database: &TestDatabase, wanted: &str) {
    let sql = "SELECT floor(extract(epoch FROM last_seen_at))::bigint::text AS text FROM sessions";
    eventually("the use to be written down", DEADLINE, || async {
        (query(database, sql).await == [wanted]).then_some(())
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_active_token_says_who_and_what() {
    let (_database, service) = start().await;
    let user = new_user();
    let created = service.client.clone().create_session(login(&user)).await.unwrap().into_inner();
    let (tokens, session) = (created.tokens.unwrap(), created.session.unwrap());
    let answer = service.validate(&tokens.access_token).await;
    let claims = answer.claims.unwrap();
    assert_eq!((claims.user_id, claims.session_id), (user, session.id));
    assert_eq!((claims.amr, claims.aal), (vec!["pwd".to_owned()], 1));
    assert_eq!(
        (claims.roles, claims.permissions),
        (vec!["user".to_owned()], vec!["reports:read".to_owned()])
    );
    let begun = Timestamp { seconds: now(&service).timestamp(), nanos: 0 };
    assert_eq!((claims.issued_at, claims.auth_time), (Some(begun), Some(begun)));
    let life = claims.expires_at.unwrap().seconds - begun.seconds;
    assert!((285..=300).contains(&life));
    assert!((life - tokens.access_expires_in.unwrap().seconds).abs() <= 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn demands_are_checked_in_their_order() {
    let (_database, service) = start().await;
    let token = service.create(&new_user()).await.access_token;
    service.advance(100);
    let plain = ValidateRequest { access_token: token, ..ValidateRequest::default() };
    let age = |seconds| Some(Duration { seconds, nanos: 0 });
    let permission = |name: &str| vec!["reports:read".to_owned(), name.to_owned()];
    for (request, expected) in [
        (plain.clone(), InactiveReason::Unspecified),
        (ValidateRequest { min_aal: 1, ..plain.clone() }, InactiveReason::Unspecified),
        (ValidateRequest { min_aal: 2, ..plain.clone() }, InactiveReason::InsufficientAal),
        (ValidateRequest { min_aal: u32::MAX, ..plain.clone() }, InactiveReason::InsufficientAal),
        (ValidateRequest { max_auth_age: age(101), ..plain.clone() }, InactiveReason::Unspecified),
        (ValidateRequest { max_auth_age: age(99), ..plain.clone() }, InactiveReason::AuthenticationTooOld),
        (ValidateRequest { max_auth_age: age(0), ..plain.clone() }, InactiveReason::AuthenticationTooOld),
        (
            ValidateRequest { required_permissions: vec!["reports:read".to_owned()], ..plain.clone() },
            InactiveReason::Unspecified,
        ),
        (
            ValidateRequest { required_permissions: permission("reports:write"), ..plain.clone() },
            InactiveReason::MissingPermission,
        ),
    ] {
        assert_eq!(ask(&service, request.clone()).await, expected, "{request:?}");
    }
    let status = service
        .client
        .clone()
        .validate(ValidateRequest { max_auth_age: age(-1), ..plain })
        .await
        .unwrap_err();
    assert_eq!(reason(&status), (Code::InvalidArgument, "invalid_request".to_owned()));
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_no_token_of_ours_is_an_answer_and_not_an_error() {
    let (_database, service) = start().await;
    let tokens = service.create(&new_user()).await;
    let cut = &tokens.access_token[..tokens.access_token.len() - 1];
    let long = "A".repeat(60_000);
    for wrong in ["", "x", "v4.public.", cut, &tokens.refresh_token, &long] {
        assert_eq!(service.validate(wrong).await.reason(), InactiveReason::Invalid, "{wrong:.80}");
    }
    let too_long = ValidateRequest { access_token: "A".repeat(140_000), ..ValidateRequest::default() };
    let status = service.client.clone().validate(too_long).await.unwrap_err();
    assert_eq!(status.code(), Code::OutOfRange);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_token_ends_and_so_does_an_idle_session() {
    let (_database, service) = start().await;
    let token = service.create(&new_user()).await.access_token;
    service.advance(284);
    assert!(service.validate(&token).await.active);
    service.advance(17);
    assert_eq!(service.validate(&token).await.reason(), InactiveReason::Expired);

    let short = CreateSessionRequest { aal: 2, ..login(&new_user()) };
    let created = service.client.clone().create_session(short).await.unwrap().into_inner();
    let mut tokens = created.tokens.unwrap();
    for _ in 0..12 {
        service.advance(3_590);
        tokens = service.refresh(&tokens.refresh_token).await.unwrap();
    }
    assert!(service.validate(&tokens.access_token).await.active);
    let end = created.session.unwrap().expires_at.unwrap();
    service.advance(end.seconds - now(&service).timestamp());
    assert!(!service.validate(&tokens.access_token).await.active);
}

#[tokio::test(flavor = "multi_thread")]
async fn use_is_written_down_outside_of_the_answer() {
    let (database, service) = start().await;
    let token = service.create(&new_user()).await.access_token;
    service.advance(61);
    assert!(service.validate(&token).await.active);
    let wanted = now(&service).timestamp().to_string();
    until_last_seen(&database, &wanted).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn use_is_written_down_when_the_service_stops_during_the_call() {
    let (database, service) = start().await;
    let token = service.create(&new_user()).await.access_token;
    service.advance(61);
    let wanted = now(&service).timestamp().to_string();
    let answer = stopped_during(&database, &service, service.validate(&token)).await;
    assert!(answer.active);
    until_last_seen(&database, &wanted).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_became_of_tokens_is_counted() {
    let (_database, service) = start().await;
    let tokens = service.create(&new_user()).await;
    service.validate(&tokens.access_token).await;
    service.validate("x").await;
    for _ in 0..2 {
        service.refresh(&tokens.refresh_token).await.unwrap();
    }
    service.refresh("x").await.unwrap_err();
    let metrics = telemetry::metrics::encode(&service.registry).unwrap();
    for line in [
        r#"session_validate_seconds_count{outcome="active"} 1"#,
        r#"session_validate_seconds_count{outcome="invalid"} 1"#,
        r#"session_refreshes_total{outcome="rotated"} 1"#,
        r#"session_refreshes_total{outcome="repeated"} 1"#,
        r#"session_refreshes_total{outcome="invalid"} 1"#,
    ] {
        assert!(metrics.contains(line), "{line} in {metrics}");
    }
}
