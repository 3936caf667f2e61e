use std::collections::BTreeSet;

use reqwest::StatusCode;
use serde_json::{Value, json};

use crate::harness::{PASSWORD, TestApi, body, problem};

const EMAIL: &str = "ada@example.test";

#[tokio::test(flavor = "multi_thread")]
async fn a_good_login_gives_tokens_and_a_fact() {
    let api = TestApi::start().await;
    api.verified_account(EMAIL).await;
    let answer =
        api.post("/v1/auth/login", &json!({"email": "ADA@example.test", "password": PASSWORD})).await;
    assert_eq!(answer.status(), StatusCode::OK);
    assert_eq!(answer.headers()["cache-control"], "no-store");
    let tokens = body(answer).await;
    assert_eq!(tokens["requires2fa"], false);
    assert_eq!(tokens["tokenType"], "Bearer");
    assert_eq!(tokens["expiresIn"], 300);
    assert!(tokens["accessToken"].is_string() && tokens["refreshToken"].is_string());
    let facts = api.facts("auth.login").await;
    assert_eq!((facts.len(), facts[0]["data"]["outcome"].as_str()), (1, Some("success")));
    assert_eq!(facts[0]["data"]["target"]["kind"], "session");
    assert!(api.metric("login_success_total") > 0.0);
}

#[tokio::test(flavor = "multi_thread")]
async fn refusals_are_one_answer_one_hash_and_one_fact() {
    let api = TestApi::start().await;
    api.verified_account(EMAIL).await;
    api.verified_account("closed@example.test").await;
    api.execute("UPDATE auth.users SET status = 'suspended' WHERE email = 'closed@example.test'").await;
    api.register("unverified@example.test").await;
    api.deferred_done().await;
    let mut answers = Vec::new();
    for (email, password, reason) in [
        (EMAIL, "not the right password", "wrong_password"),
        ("nobody@example.test", PASSWORD, "unknown_account"),
        ("closed@example.test", PASSWORD, "account_closed"),
        ("closed@example.test", "not the right password", "wrong_password"),
        ("unverified@example.test", "not the right password", "wrong_password"),
    ] {
        let hashes = api.metric("password_hash_seconds");
        let answer = api.login(email, password).await;
        let headers: BTreeSet<String> = answer.headers().keys().map(ToString::to_string).collect();
        let mut problem = problem(answer, 401, "invalid_credentials").await;
        assert_eq!(problem["detail"], "Email or password is incorrect.");
        problem["requestId"] = Value::Null;
        answers.push((headers, problem));
        assert!(
            (api.metric("password_hash_seconds") - hashes - 1.0).abs() < 0.5,
            "{email}: exactly one hash"
        );
        let fact = api.facts("auth.login").await.pop().unwrap();
        assert_eq!(
            (fact["data"]["outcome"].as_str(), fact["data"]["reason"].as_str()),
            (Some("failure"), Some(reason))
        );
        assert_eq!(fact["data"]["detail"]["identifierHash"].is_string(), reason == "unknown_account");
    }
    assert!(answers.windows(2).all(|pair| pair[0] == pair[1]), "{answers:?}");
    assert_eq!(api.facts("auth.login").await.len(), 5);
    assert_eq!(api.sessions.live(), 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_unverified_account_is_told_only_after_the_right_password() {
    let api = TestApi::start().await;
    api.register(EMAIL).await;
    api.deferred_done().await;
    problem(api.login(EMAIL, PASSWORD).await, 403, "email_unverified").await;
    problem(api.login(EMAIL, "not the right password").await, 401, "invalid_credentials").await;
    assert_eq!(api.sessions.live(), 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_password_means_the_same_in_every_normal_form() {
    let api = TestApi::start().await;
    let request = json!({"email": EMAIL, "password": "p\u{E4}ssw\u{F6}rd in drei Formen \u{1F512}"});
    let handle = body(api.post("/v1/auth/register", &request).await).await["registrationHandle"].clone();
    let token = api.verification_token(EMAIL).await;
    api.post("/v1/auth/verify-email", &json!({"token": token, "registrationHandle": handle})).await;
    let decomposed = "pa\u{308}sswo\u{308}rd in drei Formen \u{1F512}";
    assert_eq!(api.login(EMAIL, decomposed).await.status(), StatusCode::OK);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_account_that_is_closed_during_the_login_gets_no_session() {
    let api = TestApi::start().await;
    api.verified_account(EMAIL).await;
    // The row is changed by whoever holds its lock when the login looks for the second time.
    let logins = futures::future::join_all((0..10).map(|_| api.login(EMAIL, PASSWORD)));
    let closing = api.execute("UPDATE auth.users SET status = 'suspended'");
    let (answers, ()) = tokio::join!(logins, closing);
    let let_in = answers.iter().filter(|answer| answer.status() == StatusCode::OK).count();
    assert_eq!(api.sessions.live(), let_in, "every session that was begun was answered, or ended again");
    api.execute("DELETE FROM auth.attempts").await;
    problem(api.login(EMAIL, PASSWORD).await, 401, "invalid_credentials").await;
}
