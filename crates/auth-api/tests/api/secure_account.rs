use auth_events::commands::MailTemplate;
use chrono::TimeDelta;
use futures::future::join_all;
use reqwest::{Method, StatusCode};
use serde_json::json;

use crate::{
    authenticator::{EMAIL, anywhere, by, start, token},
    harness::{PASSWORD, TestApi, problem},
    mail_links::{
        CHANGE_EMAIL, CONFIRM, NEW_PASSWORD, SECURE, follow, mails_to, newest_token, reset, reset_token,
        tokens_to,
    },
};

/// An account whose owner was told of a login that was not theirs; the access token of that login.
async fn intruded(api: &TestApi) -> String {
    api.verified_account(EMAIL).await;
    api.login_tokens(EMAIL).await;
    token(&api.login_tokens(EMAIL).await, "accessToken")
}

#[tokio::test(flavor = "multi_thread")]
async fn an_owner_throws_an_intruder_out() {
    let (api, _) = start().await;
    let intruder = intruded(&api).await;
    let change = json!({"newEmail": "eve@example.test"});
    assert_eq!(by(&api, &intruder, CHANGE_EMAIL, Some(&change)).await.status(), StatusCode::ACCEPTED);
    let confirm = newest_token(&api, "eve@example.test", MailTemplate::EmailChangeConfirm).await;
    let secure = newest_token(&api, EMAIL, MailTemplate::NewDevice).await;

    let answers = join_all((0..10).map(|_| follow(&api, SECURE, &secure))).await;
    assert_eq!(answers.iter().filter(|answer| answer.status() == StatusCode::OK).count(), 1);
    assert!(answers.iter().all(|answer| [200, 400].contains(&answer.status().as_u16())));
    assert_eq!(api.sessions.live(), 0);
    problem(api.login(EMAIL, PASSWORD).await, 401, "invalid_credentials").await;
    problem(follow(&api, CONFIRM, &confirm).await, 400, "token_invalid").await;
    assert_eq!(api.sql("SELECT count(*) FROM auth.known_devices").await, "0");
    let links = tokens_to(&api, EMAIL, MailTemplate::ResetPassword).await;
    assert_eq!(links.len(), 1);
    assert_eq!(reset(&api, &links[0], NEW_PASSWORD).await.status(), StatusCode::OK);
    assert_eq!(api.login(EMAIL, NEW_PASSWORD).await.status(), StatusCode::OK);
    assert_eq!(api.facts("security.account_secured").await.len(), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_link_works_for_three_days_and_is_not_replaced_by_a_later_one() {
    let (api, clock) = start().await;
    intruded(&api).await;
    let first = newest_token(&api, EMAIL, MailTemplate::NewDevice).await;
    api.login_tokens(EMAIL).await;
    clock.advance(TimeDelta::hours(71));
    assert_eq!(follow(&api, SECURE, &first).await.status(), StatusCode::OK);
    let second = newest_token(&api, EMAIL, MailTemplate::NewDevice).await;
    assert_ne!(first, second);
    clock.advance(TimeDelta::hours(1));
    problem(follow(&api, SECURE, &second).await, 400, "token_invalid").await;
    for wrong in ["", "null", &second[4..]] {
        problem(follow(&api, SECURE, wrong).await, 400, "token_invalid").await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn while_sessions_cannot_end_the_link_stays_good() {
    let (api, clock) = start().await;
    intruded(&api).await;
    let secure = newest_token(&api, EMAIL, MailTemplate::NewDevice).await;
    api.sessions.set_unavailable(true);
    problem(follow(&api, SECURE, &secure).await, 503, "unavailable").await;
    api.sessions.set_unavailable(false);
    assert_eq!(api.login(EMAIL, PASSWORD).await.status(), StatusCode::OK);
    assert_eq!(follow(&api, SECURE, &secure).await.status(), StatusCode::OK);
    // A link that was lost can be asked for again.
    let link = reset_token(&api, &clock, EMAIL).await;
    assert_eq!(reset(&api, &link, NEW_PASSWORD).await.status(), StatusCode::OK);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_closed_account_is_secured_and_not_opened() {
    let (api, _) = start().await;
    let intruder = intruded(&api).await;
    let secure = newest_token(&api, EMAIL, MailTemplate::NewDevice).await;
    let deletion = api.request(Method::DELETE, "/v1/auth/me").bearer_auth(&intruder).send().await.unwrap();
    assert_eq!(deletion.status(), StatusCode::ACCEPTED);
    assert_eq!(follow(&api, SECURE, &secure).await.status(), StatusCode::OK);
    assert!(mails_to(&api, EMAIL, MailTemplate::ResetPassword).await.is_empty());
    let restore = newest_token(&api, EMAIL, MailTemplate::AccountDeletion).await;
    let restored =
        anywhere(&api, "/v1/auth/me/restore").json(&json!({"token": restore})).send().await.unwrap();
    assert_eq!(restored.status(), StatusCode::OK);
    problem(api.login(EMAIL, PASSWORD).await, 401, "invalid_credentials").await;
}
