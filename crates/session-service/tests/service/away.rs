use std::time::{Duration, Instant};

use auth_proto::session::v1::{
    GetPublicKeysRequest, ListSessionsRequest, RevokeSessionRequest, ValidateRequest,
    revoke_session_request::Target,
};
use service_runtime::ReadinessStatus;
use tonic::Code;

use crate::harness::{Setup, login, new_database, new_user, reason, start};

#[tokio::test(flavor = "multi_thread")]
async fn without_its_database_the_service_runs_and_says_so_quickly() {
    let service = Setup::at("postgres://session_app:session_app@127.0.0.1:1/none".into()).start().await;
    let begin = Instant::now();
    let listed = service.client.clone().list_sessions(ListSessionsRequest { user_id: new_user() }).await;
    assert_eq!(reason(&listed.unwrap_err()), (Code::Unavailable, "database_unavailable".to_owned()));
    assert!(begin.elapsed() < Duration::from_secs(1));

    let begin = Instant::now();
    let created = service.client.clone().create_session(login(&new_user())).await;
    assert_eq!(created.unwrap_err().code(), Code::Unavailable);
    assert!(begin.elapsed() < Duration::from_secs(1));

    let garbage = ValidateRequest { access_token: "x".to_owned(), ..ValidateRequest::default() };
    assert!(!service.client.clone().validate(garbage).await.unwrap().into_inner().active);

    let report = service.lifecycle.readiness().report().await;
    assert_eq!(report.status, ReadinessStatus::Unready);
    for required in ["postgres", "migrations", "signing_key"] {
        assert!(report.checks.iter().any(|check| check.name == required && check.required && !check.ok));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn without_signing_keys_nobody_is_told_that_a_token_is_bad() {
    let (_database, good) = start().await;
    let token = good.create(&new_user()).await.access_token;
    let away = Setup::at("postgres://session_app:session_app@127.0.0.1:1/none".into()).start().await;

    let unavailable = (Code::Unavailable, "signing_key_unavailable".to_owned());
    // The second call comes so soon that it hears of the first one's look at the keys.
    for _ in 0..2 {
        let request = ValidateRequest { access_token: token.clone(), ..ValidateRequest::default() };
        let status = away.client.clone().validate(request).await.unwrap_err();
        assert_eq!(reason(&status), unavailable);
    }
    let request =
        RevokeSessionRequest { target: Some(Target::AccessToken(token)), ..RevokeSessionRequest::default() };
    let status = away.client.clone().revoke_session(request).await.unwrap_err();
    assert_eq!(reason(&status), unavailable);
    let status = away.client.clone().get_public_keys(GetPublicKeysRequest {}).await.unwrap_err();
    assert_eq!(reason(&status), unavailable);
}

#[tokio::test(flavor = "multi_thread")]
async fn without_a_broker_the_service_is_ready_and_shows_it() {
    let database = new_database().await;
    let service = Setup::on(&database).start_ready().await;
    let report = service.lifecycle.readiness().report().await;
    assert_eq!(report.status, ReadinessStatus::Ready);
    assert!(report.checks.iter().any(|check| check.name == "rabbitmq" && !check.required && !check.ok));
}
