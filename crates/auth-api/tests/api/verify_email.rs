use reqwest::StatusCode;
use serde_json::json;

use crate::{
    authenticator::anywhere,
    harness::{PASSWORD, TestApi, problem},
    mail_links::device_cookie,
};

const VERIFY: &str = "/v1/auth/verify-email";
const EMAIL: &str = "ada@example.test";

#[tokio::test(flavor = "multi_thread")]
async fn the_registering_browser_opens_the_account_once() {
    let api = TestApi::start().await;
    let handle = api.register(EMAIL).await;
    let token = api.verification_token(EMAIL).await;
    let request = json!({"token": token, "registrationHandle": handle});
    let answers = futures::future::join_all((0..20).map(|_| api.post(VERIFY, &request))).await;
    let opened = answers.iter().filter(|answer| answer.status() == StatusCode::OK).count();
    assert_eq!(opened, 1);
    assert!(answers.iter().all(|answer| [200, 400].contains(&answer.status().as_u16())));
    problem(api.post(VERIFY, &request).await, 400, "token_invalid").await;
    let facts = api.facts("user.email_verified").await;
    assert_eq!((facts.len(), &facts[0]["data"]["detail"]["sameBrowser"]), (1, &json!(true)));
    assert_eq!(api.login(EMAIL, PASSWORD).await.status(), StatusCode::OK);
}

#[tokio::test(flavor = "multi_thread")]
async fn another_browser_must_set_a_password_and_the_first_one_never_works() {
    let api = TestApi::start().await;
    api.register(EMAIL).await;
    let token = api.verification_token(EMAIL).await;
    let foreign = api.register("eve@example.test").await;
    for handle in [None, Some(foreign), Some("frh_nonsense".to_owned())] {
        let request = json!({"token": token, "registrationHandle": handle});
        problem(api.post(VERIFY, &request).await, 409, "set_password_required").await;
    }
    let weak = json!({"token": token, "newPassword": "short"});
    let refused = problem(api.post(VERIFY, &weak).await, 422, "password_too_short").await;
    assert_eq!(refused["errors"][0]["field"], "newPassword");

    let opened = api.post(VERIFY, &json!({"token": token, "newPassword": "the owner's own password"})).await;
    assert_eq!(opened.status(), StatusCode::OK);
    problem(api.login(EMAIL, PASSWORD).await, 401, "invalid_credentials").await;
    assert_eq!(api.login(EMAIL, "the owner's own password").await.status(), StatusCode::OK);
}

#[tokio::test(flavor = "multi_thread")]
async fn nobody_elses_guesses_keep_the_browser_out_that_opened_the_account() {
    let api = TestApi::start().await;
    let handle = api.register(EMAIL).await;
    let token = api.verification_token(EMAIL).await;
    let opened = api.post(VERIFY, &json!({"token": token, "registrationHandle": handle})).await;
    let cookie = device_cookie(&opened).unwrap();
    for _ in 0..5 {
        problem(api.login(EMAIL, "another wrong password").await, 401, "invalid_credentials").await;
    }
    problem(api.login(EMAIL, PASSWORD).await, 429, "too_many_attempts").await;
    let credentials = json!({"email": EMAIL, "password": PASSWORD});
    let login = anywhere(&api, "/v1/auth/login").header("cookie", cookie).json(&credentials);
    assert_eq!(login.send().await.unwrap().status(), StatusCode::OK);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_later_registration_takes_the_handle_of_an_earlier_one_away() {
    let api = TestApi::start().await;
    let attacker = api.register(EMAIL).await;
    api.deferred_done().await;
    let owner = api.register(EMAIL).await;
    let token = api.verification_token(EMAIL).await;
    let request = json!({"token": token, "registrationHandle": attacker});
    problem(api.post(VERIFY, &request).await, 409, "set_password_required").await;
    let opened = api.post(VERIFY, &json!({"token": token, "registrationHandle": owner})).await;
    assert_eq!(opened.status(), StatusCode::OK);
}

#[tokio::test(flavor = "multi_thread")]
async fn tokens_that_are_not_good_open_nothing() {
    let api = TestApi::start().await;
    let handle = api.register(EMAIL).await;
    let token = api.verification_token(EMAIL).await;
    let (prefix, secret) = token.split_at(4);
    // Another character than the token's own, whichever that is.
    let first = if secret.starts_with('A') { 'B' } else { 'A' };
    let other = format!("{prefix}{first}{}", &secret[1..]);
    for wrong in [String::new(), "null".to_owned(), handle.clone(), other] {
        let request = json!({"token": wrong, "registrationHandle": handle});
        problem(api.post(VERIFY, &request).await, 400, "token_invalid").await;
    }
    api.execute("UPDATE auth.one_time_tokens SET expires_at = now() - interval '1 second'").await;
    let request = json!({"token": token, "registrationHandle": handle});
    problem(api.post(VERIFY, &request).await, 400, "token_invalid").await;
    assert_eq!(api.sql("SELECT status FROM auth.users").await, "unverified");
}

#[tokio::test(flavor = "multi_thread")]
async fn following_the_link_uses_nothing_up() {
    let api = TestApi::start().await;
    let handle = api.register(EMAIL).await;
    let token = api.verification_token(EMAIL).await;
    for _ in 0..3 {
        let answer = api.get(&format!("{VERIFY}?token={token}")).send().await.unwrap();
        assert_eq!(answer.status(), StatusCode::SEE_OTHER);
        assert_eq!(
            answer.headers()["location"],
            format!("https://app.example.test/verify-email#token={token}")
        );
    }
    let evil = api.get(&format!("{VERIFY}?token=//evil.example")).send().await.unwrap();
    assert_eq!(evil.headers()["location"], "https://app.example.test/verify-email");
    let opened = api.post(VERIFY, &json!({"token": token, "registrationHandle": handle})).await;
    assert_eq!(opened.status(), StatusCode::OK);
}

#[tokio::test(flavor = "multi_thread")]
async fn guesses_before_there_was_an_account_do_not_lock_its_owner_out() {
    let api = TestApi::start().await;
    for _ in 0..5 {
        problem(api.login(EMAIL, PASSWORD).await, 401, "invalid_credentials").await;
    }
    problem(api.login(EMAIL, PASSWORD).await, 429, "too_many_attempts").await;
    api.verified_account(EMAIL).await;
    assert_eq!(api.login(EMAIL, PASSWORD).await.status(), StatusCode::OK);
}
