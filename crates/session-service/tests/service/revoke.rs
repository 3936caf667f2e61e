use auth_proto::session::v1::{
    InactiveReason, ListSessionsRequest, RevokeSessionRequest, RevokeSessionResponse,
    revoke_session_request::Target,
};
use tonic::{Code, Status};

use crate::harness::{Running, device, facts, login, new_user, reason, start};

async fn revoke(service: &Running, target: Target) -> Result<RevokeSessionResponse, Status> {
    revoke_of(service, target, "").await
}

async fn revoke_of(service: &Running, target: Target, user: &str) -> Result<RevokeSessionResponse, Status> {
    let request = RevokeSessionRequest {
        target: Some(target),
        user_id: user.to_owned(),
        reason: "logout".to_owned(),
        device: Some(device()),
        request_id: "req-logout".to_owned(),
    };
    service.client.clone().revoke_session(request).await.map(tonic::Response::into_inner)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_session_is_ended_by_whatever_names_it_and_only_once() {
    let (database, service) = start().await;
    let user = new_user();
    let created = service.client.clone().create_session(login(&user)).await.unwrap().into_inner();
    let by_id = created.tokens.unwrap();
    let id = created.session.unwrap().id;
    let by_refresh = service.create(&user).await;
    let by_access = service.create(&user).await;
    let child = service.refresh(&by_refresh.refresh_token).await.unwrap();
    let grandchild = service.refresh(&child.refresh_token).await.unwrap();
    service.advance(3600);

    let targets = [
        (Target::SessionId(id), by_id.refresh_token.clone()),
        (Target::RefreshToken(by_refresh.refresh_token), grandchild.refresh_token),
        (Target::AccessToken(by_access.access_token), by_access.refresh_token),
    ];
    for (number, (target, live)) in targets.into_iter().enumerate() {
        let first = revoke(&service, target.clone()).await.unwrap();
        assert_eq!((first.revoked, first.user_id.as_str()), (true, user.as_str()), "{number}");
        let second = revoke(&service, target).await.unwrap();
        assert_eq!((second.revoked, second.session_id), (false, first.session_id), "{number}");
        let status = service.refresh(&live).await.unwrap_err();
        assert_eq!(reason(&status), (Code::Unauthenticated, "session_ended".to_owned()), "{number}");
        assert!(service_error::error_metadata(&status).is_empty(), "nobody stole anything");
    }
    let told = facts(&database, "auth.session.revoked").await;
    assert_eq!(told.len(), 3);
    assert!(told.iter().all(|fact| fact["data"]["reason"] == "logout"));
    let actors: Vec<_> = told.iter().map(|fact| fact["data"]["actor"]["kind"].clone()).collect();
    assert_eq!(actors, ["service", "user", "user"]);

    let logouts = facts(&database, "auth.auth.logout").await;
    assert_eq!(logouts.len(), 3);
    for (logout, revoked) in logouts.iter().zip(&told) {
        let (logout, revoked) = (&logout["data"], &revoked["data"]);
        assert_eq!((&logout["target"], &logout["client"]), (&revoked["target"], &revoked["client"]));
        assert_eq!(
            (&logout["actor"]["kind"], &logout["actor"]["id"]),
            (&"user".into(), &user.as_str().into())
        );
        assert_eq!(logout["client"]["requestId"], "req-logout");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn only_a_logout_is_told_as_one() {
    let (database, service) = start().await;
    let tokens = service.create(&new_user()).await;
    let request = RevokeSessionRequest {
        target: Some(Target::RefreshToken(tokens.refresh_token)),
        reason: "admin".to_owned(),
        ..RevokeSessionRequest::default()
    };
    assert!(service.client.clone().revoke_session(request).await.unwrap().into_inner().revoked);
    assert_eq!(facts(&database, "auth.session.revoked").await.len(), 1);
    assert!(facts(&database, "auth.auth.logout").await.is_empty());
}

#[tokio::test(flavor = "multi_thread")]
async fn validate_knows_at_once() {
    let (_database, service) = start().await;
    let tokens = service.create(&new_user()).await;
    assert!(service.validate(&tokens.access_token).await.active);
    revoke(&service, Target::RefreshToken(tokens.refresh_token)).await.unwrap();
    let answer = service.validate(&tokens.access_token).await;
    assert_eq!((answer.active, answer.reason()), (false, InactiveReason::Revoked));
}

#[tokio::test(flavor = "multi_thread")]
async fn sessions_of_others_and_forged_tokens_are_left_alone() {
    let (_database, service) = start().await;
    let (owner, other) = (new_user(), new_user());
    let created = service.client.clone().create_session(login(&owner)).await.unwrap().into_inner();
    let (tokens, id) = (created.tokens.unwrap(), created.session.unwrap().id);

    let foreign = [
        Target::SessionId(id.clone()),
        Target::RefreshToken(tokens.refresh_token.clone()),
        Target::AccessToken(tokens.access_token.clone()),
    ];
    for target in foreign {
        let status = revoke_of(&service, target, &other).await.unwrap_err();
        assert_eq!(reason(&status), (Code::NotFound, "session_not_found".to_owned()));
    }
    let unknown = revoke(&service, Target::SessionId(new_user())).await.unwrap_err();
    assert_eq!(reason(&unknown), (Code::NotFound, "session_not_found".to_owned()));
    let forged = format!("{}AAAA", &tokens.refresh_token[..76]);
    let forged = revoke(&service, Target::RefreshToken(forged)).await.unwrap_err();
    assert_eq!(reason(&forged), (Code::Unauthenticated, "refresh_token_invalid".to_owned()));
    let cut = tokens.access_token[..tokens.access_token.len() - 2].to_owned();
    let cut = revoke(&service, Target::AccessToken(cut)).await.unwrap_err();
    assert_eq!(reason(&cut), (Code::Unauthenticated, "access_token_invalid".to_owned()));
    let malformed = revoke(&service, Target::SessionId("7".to_owned())).await.unwrap_err();
    assert_eq!(reason(&malformed), (Code::InvalidArgument, "invalid_request".to_owned()));
    assert!(service.validate(&tokens.access_token).await.active);

    assert!(revoke_of(&service, Target::SessionId(id), &owner).await.unwrap().revoked);
    let request = ListSessionsRequest { user_id: owner };
    let left = service.client.clone().list_sessions(request).await.unwrap().into_inner();
    assert!(left.sessions.is_empty());
}
