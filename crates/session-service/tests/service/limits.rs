use std::collections::HashSet;

use auth_proto::session::v1::{CreateSessionRequest, Device, ListSessionsRequest, RefreshRequest, Session};
use prost_types::Timestamp;
use tonic::Code;

use crate::harness::{Running, facts, login, new_user, reason, start, start_two};

async fn session_ids(service: &Running, user: &str) -> Vec<String> {
    let request = ListSessionsRequest { user_id: user.to_owned() };
    let answer = service.client.clone().list_sessions(request).await.unwrap().into_inner();
    answer.sessions.into_iter().map(|session| session.id).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn the_oldest_session_goes_when_there_are_too_many() {
    let (database, service) = start().await;
    let user = new_user();
    let mut created = Vec::new();
    for _ in 0..22 {
        let answer = service.client.clone().create_session(login(&user)).await.unwrap().into_inner();
        created.push(answer.session.unwrap().id);
        service.advance(1);
    }
    let newest_first: Vec<_> = created.iter().rev().take(20).cloned().collect();
    assert_eq!(session_ids(&service, &user).await, newest_first);
    assert!(session_ids(&service, &new_user()).await.is_empty());

    let told = facts(&database, "auth.session.revoked").await;
    let ended: Vec<_> =
        told.iter().map(|fact| fact["data"]["detail"]["sessionId"].as_str().unwrap()).collect();
    assert_eq!(ended, &created[..2]);
    assert!(told.iter().all(|fact| fact["data"]["reason"] == "session_limit"));
}

#[tokio::test(flavor = "multi_thread")]
async fn the_list_says_what_a_user_tells_devices_apart_by() {
    let (_database, service) = start().await;
    let user = new_user();
    let created = service.client.clone().create_session(login(&user)).await.unwrap().into_inner();
    service.advance(60);
    let device =
        Device { name: String::new(), ip: "2001:db8::1".to_owned(), user_agent: "test/2".to_owned() };
    let request = RefreshRequest {
        refresh_token: created.tokens.unwrap().refresh_token,
        device: Some(device.clone()),
        request_id: String::new(),
    };
    service.client.clone().refresh(request).await.unwrap();

    let request = ListSessionsRequest { user_id: user.clone() };
    let listed = service.client.clone().list_sessions(request).await.unwrap().into_inner().sessions;
    let began = created.session.unwrap();
    let expected = Session {
        device: Some(Device { name: "Laptop".to_owned(), ..device }),
        last_seen_at: began.created_at.map(|at| Timestamp { seconds: at.seconds + 60, ..at }),
        ..began
    };
    assert_eq!((listed, expected.user_id.as_str()), (vec![expected.clone()], user.as_str()));
    assert_eq!((expected.amr, expected.aal), (vec!["pwd".to_owned()], 1));
    let life = expected.expires_at.unwrap().seconds - expected.created_at.unwrap().seconds;
    assert_eq!(life, 30 * 86_400);
}

#[tokio::test(flavor = "multi_thread")]
async fn fifty_logins_at_two_replicas_at_once_all_succeed_and_leave_twenty() {
    let (database, service, other) = start_two().await;
    let user = new_user();
    let login_at = async |at: &Running| at.client.clone().create_session(login(&user)).await;
    let logins = (0..25).flat_map(|_| [&service, &other].map(login_at));
    let answers = futures::future::join_all(logins).await;
    let ids: HashSet<_> =
        answers.into_iter().map(|answer| answer.unwrap().into_inner().session.unwrap().id).collect();
    assert_eq!(ids.len(), 50);
    assert_eq!(session_ids(&service, &user).await.len(), 20);
    assert_eq!(facts(&database, "auth.session.created").await.len(), 50);
    assert_eq!(facts(&database, "auth.session.revoked").await.len(), 30);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_request_that_breaks_a_rule_is_told_which() {
    let (_database, service) = start().await;
    let request = CreateSessionRequest { aal: 3, ..login(&new_user()) };
    let status = service.client.clone().create_session(request).await.unwrap_err();
    assert_eq!(reason(&status), (Code::InvalidArgument, "invalid_request".to_owned()));
    assert_eq!(status.message(), "aal must be 1 or 2.");
}
