use std::collections::HashSet;

use auth_proto::session::v1::{CreateSessionRequest, InactiveReason};
use tonic::Code;

use crate::harness::{execute, facts, login, new_user, query, reason, start, start_two, until_seen};

#[tokio::test(flavor = "multi_thread")]
async fn each_refresh_gives_a_new_pair_and_tells_it_once() {
    let (database, service) = start().await;
    let first = service.create(&new_user()).await;
    service.advance(240);
    let second = service.refresh_fully(&first.refresh_token).await.unwrap();
    let session = second.session.unwrap();
    let second = second.tokens.unwrap();
    assert_ne!(first.refresh_token, second.refresh_token);
    assert_ne!(first.access_token, second.access_token);
    assert_eq!(session.device.unwrap().name, "Laptop");
    assert!(service.validate(&second.access_token).await.active);

    let told = facts(&database, "auth.session.refreshed").await;
    assert_eq!(told.len(), 1);
    assert_eq!(told[0]["data"]["detail"]["generation"], 2);
    assert_eq!(told[0]["data"]["client"]["requestId"], "req-refresh");
    let created = facts(&database, "auth.session.created").await;
    assert_eq!(created.len(), 1);
    assert_eq!(created[0]["subject"], session.user_id.as_str());
    assert_eq!(created[0]["data"]["target"]["id"], session.id.as_str());
}

#[tokio::test(flavor = "multi_thread")]
async fn fifty_refreshes_of_one_token_at_two_replicas_at_once_get_the_same_pair() {
    let (database, service, other) = start_two().await;
    let first = service.create(&new_user()).await;
    service.advance(240);
    let refreshes = (0..25).flat_map(|_| [&service, &other].map(|it| it.refresh(&first.refresh_token)));
    let answers = futures::future::join_all(refreshes).await;
    let pairs: HashSet<_> = answers
        .into_iter()
        .map(|answer| answer.unwrap())
        .map(|tokens| (tokens.access_token, tokens.refresh_token))
        .collect();
    assert_eq!(pairs.len(), 1);
    assert_eq!(facts(&database, "auth.session.refreshed").await.len(), 1);

    let (_, child) = pairs.into_iter().next().unwrap();
    assert!(service.refresh(&child).await.is_ok());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_lost_answer_is_replaced_and_the_unseen_child_is_dead() {
    let (database, service) = start().await;
    let parent = service.create(&new_user()).await.refresh_token;
    let unseen = service.refresh(&parent).await.unwrap();
    service.advance(599);
    let replaced = service.refresh(&parent).await.unwrap();
    assert_ne!(unseen.refresh_token, replaced.refresh_token);
    service.advance(9);
    let again = service.refresh(&parent).await.unwrap();
    assert_eq!(
        (&again.access_token, &again.refresh_token),
        (&replaced.access_token, &replaced.refresh_token)
    );
    let next = service.refresh(&replaced.refresh_token).await.unwrap();

    let status = service.refresh(&unseen.refresh_token).await.unwrap_err();
    assert_eq!(reason(&status), (Code::Unauthenticated, "refresh_token_reused".to_owned()));
    let status = service.refresh(&next.refresh_token).await.unwrap_err();
    assert_eq!(reason(&status), (Code::Unauthenticated, "session_ended".to_owned()));
    assert_eq!(facts(&database, "auth.session.refresh_reuse_detected").await.len(), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_parent_that_comes_back_after_its_child_was_seen_ends_the_session() {
    let (database, service) = start().await;
    let user = new_user();
    let parent = service.create(&user).await.refresh_token;
    let answer = service.refresh_fully(&parent).await.unwrap();
    let (child, session) = (answer.tokens.unwrap(), answer.session.unwrap());
    assert!(service.validate(&child.access_token).await.active);
    until_seen(&database, &session.id).await;
    service.advance(11);

    let status = service.refresh(&parent).await.unwrap_err();
    assert_eq!(reason(&status), (Code::Unauthenticated, "refresh_token_reused".to_owned()));
    let owner = [("user_id", &user), ("session_id", &session.id)];
    assert_eq!(
        service_error::error_metadata(&status),
        owner.map(|(name, id)| (name.to_owned(), id.clone())).into(),
        "whom to tell"
    );
    for token in [&child.refresh_token, &parent] {
        let status = service.refresh(token).await.unwrap_err();
        assert_eq!(reason(&status), (Code::Unauthenticated, "session_ended".to_owned()));
        assert!(service_error::error_metadata(&status).is_empty());
    }
    let validity = service.validate(&child.access_token).await;
    assert_eq!((validity.active, validity.reason()), (false, InactiveReason::Revoked));

    let told = facts(&database, "auth.session.refresh_reuse_detected").await;
    assert_eq!(told.len(), 1);
    assert_eq!(told[0]["data"]["severity"], "critical");
    assert_eq!(told[0]["subject"], user.as_str());
    assert_eq!(told[0]["data"]["detail"]["presentedGeneration"], 1);
    assert_eq!(told[0]["data"]["detail"]["currentGeneration"], 2);
}

#[tokio::test(flavor = "multi_thread")]
async fn forged_and_foreign_tokens_are_refused_without_a_write() {
    let (database, service) = start().await;
    let token = service.create(&new_user()).await.refresh_token;
    // The version of every row, and the number of facts.
    let state = "SELECT (SELECT string_agg(xmin::text || xmax::text, ' ') FROM sessions) || ' ' || count(*) AS text FROM outbox";
    let before = query(&database, state).await;

    let (begin, last) = token.split_at(token.len() - 1);
    let forged = format!("{begin}{}", if last == "A" { "B" } else { "A" });
    let other_session =
        format!("{}{}{}", &token[..12], if &token[12..13] == "A" { "B" } else { "A" }, &token[13..]);
    for wrong in [forged.as_str(), &other_session, "", "far_", "far_AAAA", "not a token", &"A".repeat(10_000)]
    {
        let status = service.refresh(wrong).await.unwrap_err();
        assert_eq!(
            reason(&status),
            (Code::Unauthenticated, "refresh_token_invalid".to_owned()),
            "{wrong:.90}"
        );
    }
    assert_eq!(query(&database, state).await, before);
    assert!(service.refresh(&token).await.is_ok());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_session_ends_when_it_is_idle_and_at_its_end() {
    let (_database, service) = start().await;
    let hour = 3600;
    let remembered = login(&new_user());
    let short = CreateSessionRequest { remember_me: false, ..login(&new_user()) };
    let second_factor = CreateSessionRequest { aal: 2, ..login(&new_user()) };
    // What is asked for, after how many seconds without a refresh it is dead, and when it ends at the latest.
    for (request, idle, end) in [
        (remembered, 14 * 24 * hour, 30 * 24 * hour),
        (short, 12 * hour, 12 * hour),
        (second_factor, hour, 12 * hour),
    ] {
        let create = async || {
            let answer = service.client.clone().create_session(request.clone()).await.unwrap().into_inner();
            answer.tokens.unwrap().refresh_token
        };
        let token = create().await;
        service.advance(idle);
        assert_eq!(reason(&service.refresh(&token).await.unwrap_err()).1, "session_ended");

        let mut token = create().await;
        let mut age = 0;
        while age + idle - 1 < end {
            service.advance(idle - 1);
            age += idle - 1;
            token = service.refresh(&token).await.unwrap().refresh_token;
        }
        service.advance(end - age);
        assert_eq!(reason(&service.refresh(&token).await.unwrap_err()).1, "session_ended");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_new_epoch_ends_access_tokens_and_not_the_session() {
    let (database, service) = start().await;
    let user = new_user();
    let tokens = service.create(&user).await;
    execute(&database, &format!("UPDATE subjects SET epoch = epoch + 1 WHERE user_id = '{user}'")).await;
    assert_eq!(service.validate(&tokens.access_token).await.reason(), InactiveReason::Revoked);
    let tokens = service.refresh(&tokens.refresh_token).await.unwrap();
    assert!(service.validate(&tokens.access_token).await.active);
}
