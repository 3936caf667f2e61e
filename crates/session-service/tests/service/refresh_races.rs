//! Refreshes beside whatever else changes a session, many times.

use auth_proto::session::v1::{
    RevokeSessionRequest, UpdateUserClaimsRequest, revoke_session_request::Target,
};
use futures::{StreamExt, stream};
use tonic::Code;

use crate::{
    harness::{login, new_user, reason, start_two},
    refresh::ask,
};

#[tokio::test(flavor = "multi_thread")]
async fn ref_04_of_a_thousand_lost_answers_none_logs_anybody_out() {
    let (_database, service, other) = start_two().await;
    for (seconds, same) in [(1, true), (9, true), (60, false), (540, false)] {
        let lost = stream::iter(0..250).map(async |_| {
            let parent = service.create(&new_user()).await.refresh_token;
            let lost = service.refresh(&parent).await.unwrap().refresh_token;
            (parent, lost)
        });
        let lost: Vec<_> = lost.buffer_unordered(8).collect().await;
        service.advance(seconds);
        stream::iter(lost)
            .for_each_concurrent(8, async |(parent, lost)| {
                let child = other.refresh(&parent).await.unwrap().refresh_token;
                assert_eq!(child == lost, same, "after {seconds} seconds");
                service.refresh(&child).await.unwrap();
            })
            .await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn ref_07_a_refresh_beside_a_revocation_is_refused_or_dead() {
    let (_database, service, other) = start_two().await;
    stream::iter(0..500)
        .for_each_concurrent(8, async |turn| {
            let user = new_user();
            let answer = service.client.clone().create_session(login(&user)).await.unwrap().into_inner();
            let (first, session) = (answer.tokens.unwrap(), answer.session.unwrap());
            let revocation = async {
                // A little later each time.
                for _ in 0..turn % 25 {
                    tokio::task::yield_now().await;
                }
                let request = RevokeSessionRequest {
                    target: Some(Target::SessionId(session.id.clone())),
                    reason: "logout".to_owned(),
                    ..RevokeSessionRequest::default()
                };
                other.client.clone().revoke_session(request).await.unwrap()
            };
            let refreshes = async {
                let second = service.refresh(&first.refresh_token).await?;
                let third = service.refresh(&second.refresh_token).await;
                third.or(Ok::<_, tonic::Status>(second))
            };
            let (_, answers) = tokio::join!(revocation, refreshes);
            let newest = answers.unwrap_or(first);
            let status = service.refresh(&newest.refresh_token).await.unwrap_err();
            assert_eq!(reason(&status), (Code::Unauthenticated, "session_ended".to_owned()));
            assert!(!ask(&service, &newest.access_token).await.active);
        })
        .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_refresh_beside_a_change_of_roles_says_what_is_new_or_nothing() {
    let (_database, service, other) = start_two().await;
    stream::iter(0..300)
        .for_each_concurrent(8, async |turn| {
            let user = new_user();
            let first = service.create(&user).await;
            let change = async {
                for _ in 0..turn % 25 {
                    tokio::task::yield_now().await;
                }
                let request = UpdateUserClaimsRequest {
                    user_id: user.clone(),
                    roles: vec!["admin".to_owned()],
                    permissions: vec![],
                };
                other.client.clone().update_user_claims(request).await.unwrap()
            };
            let refreshes = async {
                let second = service.refresh(&first.refresh_token).await.unwrap();
                (second.clone(), service.refresh(&second.refresh_token).await.unwrap())
            };
            let (_, (second, third)) = tokio::join!(change, refreshes);
            for tokens in [&first, &second, &third] {
                let validity = ask(&service, &tokens.access_token).await;
                assert!(validity.claims.as_ref().is_none_or(|it| it.roles == ["admin"]), "{validity:?}");
            }
            let next = service.refresh(&third.refresh_token).await.unwrap();
            assert_eq!(ask(&service, &next.access_token).await.claims.unwrap().roles, ["admin"]);
        })
        .await;
}
