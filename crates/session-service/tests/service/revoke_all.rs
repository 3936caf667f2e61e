use auth_proto::session::v1::{
    CreateSessionResponse, InactiveReason, ListSessionsRequest, RevokeUserSessionsRequest,
};
use tonic::{Code, Status};

use crate::harness::{Running, device, facts, login, new_user, query, reason, start, start_two};

async fn begin(service: &Running, user: &str) -> (String, String, String) {
    let answer: CreateSessionResponse =
        service.client.clone().create_session(login(user)).await.unwrap().into_inner();
    let tokens = answer.tokens.unwrap();
    (answer.session.unwrap().id, tokens.access_token, tokens.refresh_token)
}

async fn revoke_all(
    service: &Running,
    user: &str,
    except: Option<&str>,
    reason: &str,
) -> Result<u32, Status> {
    let request = RevokeUserSessionsRequest {
        user_id: user.to_owned(),
        except_session_id: except.map(str::to_owned),
        reason: reason.to_owned(),
        request_id: "req-all".to_owned(),
        device: Some(device()),
    };
    service.client.clone().revoke_user_sessions(request).await.map(|answer| answer.into_inner().revoked)
}

async fn session_ids(service: &Running, user: &str) -> Vec<String> {
    let request = ListSessionsRequest { user_id: user.to_owned() };
    let answer = service.client.clone().list_sessions(request).await.unwrap().into_inner();
    answer.sessions.into_iter().map(|session| session.id).collect()
}

const EPOCHS: &str = "SELECT epoch::text AS text FROM subjects ORDER BY epoch";

#[tokio::test(flavor = "multi_thread")]
async fn all_sessions_of_a_user_end_at_once_and_nobody_elses() {
    let (database, service) = start().await;
    let (user, other) = (new_user(), new_user());
    let sessions = [begin(&service, &user).await, begin(&service, &user).await, begin(&service, &user).await];
    let (_, others_access, others_refresh) = begin(&service, &other).await;

    assert_eq!(revoke_all(&service, &user, None, "password_reset").await.unwrap(), 3);
    for (_, access, refresh) in &sessions {
        assert_eq!(service.validate(access).await.reason(), InactiveReason::Revoked);
        let status = service.refresh(refresh).await.unwrap_err();
        assert_eq!(reason(&status), (Code::Unauthenticated, "session_ended".to_owned()));
    }
    assert!(session_ids(&service, &user).await.is_empty());
    assert!(service.validate(&others_access).await.active);
    assert!(service.refresh(&others_refresh).await.is_ok());
    assert_eq!(query(&database, EPOCHS).await, ["0", "1"]);
    assert_eq!(revoke_all(&service, &user, None, "password_reset").await.unwrap(), 0, "there are none left");

    let told = facts(&database, "auth.session.revoked_all").await;
    assert_eq!(told.len(), 1, "what changed nothing is not told");
    let data = &told[0]["data"];
    assert_eq!(told[0]["subject"], user.as_str());
    assert_eq!((&data["reason"], &data["detail"]["revoked"]), (&"password_reset".into(), &3.into()));
    assert_eq!(
        (&data["actor"]["kind"], &data["client"]["requestId"]),
        (&"service".into(), &"req-all".into())
    );
    assert!(data["detail"].get("kept").is_none());
    assert!(facts(&database, "auth.session.revoked").await.is_empty());

    let (_, access, refresh) = begin(&service, &user).await;
    assert!(service.validate(&access).await.active, "a login after it is of the new epoch");
    let child = service.refresh(&refresh).await.unwrap();
    assert!(service.validate(&child.access_token).await.active);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_access_token_of_an_earlier_epoch_is_dead_whatever_its_session_says() {
    let (database, service) = start().await;
    let user = new_user();
    let (_, access, _) = begin(&service, &user).await;
    revoke_all(&service, &user, None, "logout_all").await.unwrap();
    crate::harness::execute(&database, "UPDATE sessions SET revoked_at = NULL, revoked_reason = NULL").await;
    assert_eq!(service.validate(&access).await.reason(), InactiveReason::Revoked);
}

#[tokio::test(flavor = "multi_thread")]
async fn the_session_that_is_kept_lives_on_with_its_tokens() {
    let (database, service) = start().await;
    let user = new_user();
    let (_, access, refresh) = begin(&service, &user).await;
    let (kept, kept_access, kept_refresh) = begin(&service, &user).await;

    assert_eq!(revoke_all(&service, &user, Some(&kept), "logout_all").await.unwrap(), 1);
    assert!(service.validate(&kept_access).await.active);
    assert!(service.refresh(&kept_refresh).await.is_ok());
    assert_eq!(service.validate(&access).await.reason(), InactiveReason::Revoked);
    assert!(service.refresh(&refresh).await.is_err());
    assert_eq!(session_ids(&service, &user).await, [kept.as_str()]);
    assert_eq!(query(&database, EPOCHS).await, ["0"]);
    assert_eq!(revoke_all(&service, &user, Some(&kept), "logout_all").await.unwrap(), 0);

    let told = facts(&database, "auth.session.revoked_all").await;
    assert_eq!(told.len(), 1);
    let data = &told[0]["data"];
    assert_eq!((&data["actor"]["kind"], &data["actor"]["id"]), (&"user".into(), &user.as_str().into()));
    assert_eq!(data["detail"], serde_json::json!({"revoked": 1, "kept": kept}));
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_no_live_session_of_the_user_is_not_kept() {
    let (database, service) = start().await;
    let (user, other) = (new_user(), new_user());
    let (foreign, foreign_access, _) = begin(&service, &other).await;
    for (number, except) in [foreign.as_str(), &new_user()].into_iter().enumerate() {
        let (_, access, _) = begin(&service, &user).await;
        assert_eq!(revoke_all(&service, &user, Some(except), "password_changed").await.unwrap(), 1);
        assert!(!service.validate(&access).await.active);
        assert_eq!(query(&database, EPOCHS).await, ["0".to_owned(), (number + 1).to_string()]);
    }
    assert!(service.validate(&foreign_access).await.active);
    for except in ["", "7"] {
        let status = revoke_all(&service, &other, Some(except), "logout_all").await.unwrap_err();
        assert_eq!(reason(&status), (Code::InvalidArgument, "invalid_request".to_owned()));
    }
    assert!(service.validate(&foreign_access).await.active);
    assert_eq!(revoke_all(&service, &new_user(), None, "logout_all").await.unwrap(), 0, "a user unheard of");
}

#[tokio::test(flavor = "multi_thread")]
async fn of_logins_and_refreshes_at_the_same_time_nothing_survives_that_began_before() {
    let (database, service, other) = start_two().await;
    let user = new_user();
    let before = [begin(&service, &user).await, begin(&service, &user).await];
    let refreshes = before.iter().flat_map(|(_, _, token)| [&service, &other].map(|at| at.refresh(token)));
    let revocations =
        [&service, &other, &service, &other].map(|at| revoke_all(at, &user, None, "password_reset"));
    let (children, revoked) =
        tokio::join!(futures::future::join_all(refreshes), futures::future::join_all(revocations));
    assert_eq!(revoked.into_iter().map(Result::unwrap).sum::<u32>(), 2, "each session ends once");
    for tokens in children.into_iter().flatten() {
        assert!(!other.validate(&tokens.access_token).await.active);
        assert!(other.refresh(&tokens.refresh_token).await.is_err());
    }
    assert_eq!(facts(&database, "auth.session.revoked_all").await.len(), 1);
}
