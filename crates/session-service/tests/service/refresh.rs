use std::collections::HashSet;

use auth_proto::session::v1::{
    CreateSessionRequest, Device, InactiveReason, RefreshRequest, UpdateUserClaimsRequest, ValidateRequest,
    ValidateResponse,
};
use base64::prelude::*;
use futures::{StreamExt, stream};
use test_support::eventually;
use tonic::Code;

use crate::harness::{
    DEADLINE, Running, device, execute, facts, login, new_user, query, reason, start, start_two, until_seen,
};

/// Enough to find a way around the check of the MAC, if it depended on a byte or two.
const FORGERIES: usize = 10_000;

/// Validates as the database has it.
pub async fn ask(service: &Running, access_token: &str) -> ValidateResponse {
    let request = ValidateRequest {
        access_token: access_token.to_owned(),
        authoritative: true,
        ..ValidateRequest::default()
    };
    service.client.clone().validate(request).await.unwrap().into_inner()
}

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
async fn ref_04_a_lost_answer_is_replaced_and_the_unseen_child_is_dead() {
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
async fn ref_04_a_call_that_arrives_late_does_not_replace_what_another_tab_got() {
    let (_database, service) = start().await;
    let parent = service.create(&new_user()).await.refresh_token;
    let lost = service.refresh(&parent).await.unwrap();
    service.advance(9);
    let got = service.refresh(&parent).await.unwrap();
    // Sent beside the second one, and long on its way.
    service.advance(9);
    let late = service.refresh(&parent).await.unwrap();
    assert_eq!([&lost.refresh_token, &lost.refresh_token], [&got.refresh_token, &late.refresh_token]);
    assert!(service.refresh(&got.refresh_token).await.is_ok());
}

#[tokio::test(flavor = "multi_thread")]
async fn ref_03_a_parent_that_comes_back_after_its_child_was_seen_ends_the_session() {
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
        let again = service.refresh(token).await.unwrap_err();
        assert_eq!(reason(&again), (Code::Unauthenticated, "session_ended".to_owned()));
        let whom = service_error::error_metadata(&again);
        assert_eq!(whom, service_error::error_metadata(&status), "the first answer may have been lost");
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
async fn ref_01_forged_and_foreign_tokens_are_refused_without_a_write() {
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
    // Of the session, of a generation near its own, and with a MAC that is a guess.
    let guesses = (0..FORGERIES).map(|guess| {
        let mut bytes = BASE64_URL_SAFE_NO_PAD.decode(&token[4..]).unwrap();
        bytes[24] = u8::try_from(guess % 4).unwrap();
        bytes[25..].copy_from_slice(&clock::random_bytes::<32>(&mut clock::secure_rng()));
        format!("far_{}", BASE64_URL_SAFE_NO_PAD.encode(bytes))
    });
    let refused = stream::iter(guesses)
        .map(async |guess| reason(&service.refresh(&guess).await.unwrap_err()).1)
        .buffer_unordered(16)
        .filter(|reason| std::future::ready(reason == "refresh_token_invalid"));
    assert_eq!(refused.count().await, FORGERIES);
    assert_eq!(query(&database, state).await, before);
    assert!(service.refresh(&token).await.is_ok());
}

#[tokio::test(flavor = "multi_thread")]
async fn ref_09_a_session_ends_when_it_is_idle_and_at_its_end() {
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
    assert_eq!(ask(&service, &tokens.access_token).await.reason(), InactiveReason::Revoked);
    let tokens = service.refresh(&tokens.refresh_token).await.unwrap();
    assert!(ask(&service, &tokens.access_token).await.active);
}

#[tokio::test(flavor = "multi_thread")]
async fn ref_03_a_superseded_token_ends_the_session_at_once_and_everywhere() {
    let (database, service, other) = start_two().await;
    let first = service.create(&new_user()).await;
    let second = service.refresh(&first.refresh_token).await.unwrap();
    let third = other.refresh(&second.refresh_token).await.unwrap();
    assert!(service.validate(&third.access_token).await.active);
    assert!(other.validate(&third.access_token).await.active);

    let status = other.refresh(&first.refresh_token).await.unwrap_err();
    assert_eq!(reason(&status), (Code::Unauthenticated, "refresh_token_reused".to_owned()));
    for tokens in [&first, &second, &third] {
        let status = service.refresh(&tokens.refresh_token).await.unwrap_err();
        assert_eq!(reason(&status).1, "session_ended");
        assert!(!other.validate(&tokens.access_token).await.active, "known at once where it was found out");
        eventually("the other replica to know", DEADLINE, || async {
            (!service.validate(&tokens.access_token).await.active).then_some(())
        })
        .await;
    }
    let told = facts(&database, "auth.session.refresh_reuse_detected").await;
    assert_eq!(told.len(), 1);
    assert_eq!(told[0]["data"]["severity"], "critical");
}

#[tokio::test(flavor = "multi_thread")]
async fn ref_05_a_thief_who_has_the_parent_and_the_owner_never_both_go_on() {
    let (_database, service) = start().await;
    let parent = service.create(&new_user()).await.refresh_token;
    let of_owner = service.refresh(&parent).await.unwrap();
    service.advance(10);
    let of_thief = service.refresh(&parent).await.unwrap();
    assert_eq!(of_owner.refresh_token, of_thief.refresh_token, "inside of the grace both get the same");

    // The thief is first this time, and the owner late: who comes last has the only good one.
    let of_thief = service.refresh(&of_thief.refresh_token).await.unwrap();
    service.advance(11);
    let of_owner = service.refresh(&of_owner.refresh_token).await.unwrap();
    assert_ne!(of_owner.refresh_token, of_thief.refresh_token);
    let status = service.refresh(&of_thief.refresh_token).await.unwrap_err();
    assert_eq!(reason(&status).1, "refresh_token_reused");
    let status = service.refresh(&of_owner.refresh_token).await.unwrap_err();
    assert_eq!(reason(&status).1, "session_ended");
    assert!(!service.validate(&of_owner.access_token).await.active);
}

#[tokio::test(flavor = "multi_thread")]
async fn ref_11_a_refresh_from_another_place_is_allowed_and_told() {
    let (database, service) = start().await;
    let elsewhere = Device { ip: "198.51.100.9".to_owned(), ..device() };
    let another_browser = Device { user_agent: "test/2".to_owned(), ..elsewhere.clone() };
    let unknown = Device::default();
    let mut token = service.create(&new_user()).await.refresh_token;
    for device in [device(), elsewhere.clone(), elsewhere, another_browser.clone(), unknown, another_browser]
    {
        service.advance(240);
        let request =
            RefreshRequest { refresh_token: token, device: Some(device), request_id: String::new() };
        let answer = service.client.clone().refresh(request).await.unwrap().into_inner();
        token = answer.tokens.unwrap().refresh_token;
    }
    let told = facts(&database, "auth.session.refreshed").await;
    let mut changed: Vec<_> = told
        .iter()
        .map(|fact| {
            let detail = &fact["data"]["detail"];
            (detail["generation"].as_u64().unwrap(), detail.get("contextChanged").cloned())
        })
        .collect();
    changed.sort_by_key(|(generation, _)| *generation);
    let changed: Vec<_> = changed.into_iter().map(|(_, changed)| changed).collect();
    let yes = Some(serde_json::Value::Bool(true));
    assert_eq!(changed, [None, yes.clone(), None, yes, None, None]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_session_that_may_do_more_lives_only_as_long_as_it_may_then() {
    let (_database, service) = start().await;
    let user = new_user();
    let request = CreateSessionRequest { remember_me: true, ..login(&user) };
    let remembered =
        service.client.clone().create_session(request).await.unwrap().into_inner().tokens.unwrap();
    let request =
        UpdateUserClaimsRequest { user_id: user, roles: vec!["admin".to_owned()], permissions: vec![] };
    service.client.clone().update_user_claims(request).await.unwrap();
    let mut tokens = service.refresh(&remembered.refresh_token).await.unwrap();
    for _ in 0..12 {
        service.advance(59 * 60);
        tokens = service.refresh(&tokens.refresh_token).await.unwrap();
    }
    // Less than an hour of rest, and more than twelve hours of it.
    service.advance(30 * 60);
    assert_eq!(reason(&service.refresh(&tokens.refresh_token).await.unwrap_err()).1, "session_ended");
}
