use chrono::TimeDelta;
use reqwest::{Response, StatusCode};
use serde_json::{Value, json};

use crate::{
    authenticator::{EMAIL, ProtectedAccount, by, start, token},
    harness::{PASSWORD, TestApi, body, problem},
    mail_links::REAUTHENTICATE,
};

async fn reauthenticate(api: &TestApi, access: &str, proof: &Value) -> Response {
    by(api, access, REAUTHENTICATE, Some(proof)).await
}

/// Something that asks for a recent authentication.
async fn protected(api: &TestApi, access: &str) -> Response {
    by(api, access, "/v1/auth/me/export", None).await
}

#[tokio::test(flavor = "multi_thread")]
async fn the_password_opens_a_window_of_five_minutes() {
    let (api, clock) = start().await;
    api.verified_account(EMAIL).await;
    let tokens = api.login_tokens(EMAIL).await;
    let access = token(&tokens, "accessToken");
    assert_eq!(protected(&api, &access).await.status(), StatusCode::ACCEPTED, "a login opens one too");
    clock.advance(TimeDelta::minutes(6));
    let access = api.sessions.renewed(&access);
    problem(protected(&api, &access).await, 401, "reauth_required").await;
    let wrong = json!({"password": "another wrong password"});
    problem(reauthenticate(&api, &access, &wrong).await, 401, "invalid_credentials").await;

    let answer = reauthenticate(&api, &access, &json!({"password": PASSWORD})).await;
    assert_eq!(answer.status(), StatusCode::OK);
    let answer = body(answer).await;
    assert_eq!((&answer["tokenType"], answer.get("refreshToken")), (&json!("Bearer"), None));
    let fresh = token(&answer, "accessToken");
    problem(protected(&api, &access).await, 401, "reauth_required").await;
    assert_eq!(protected(&api, &fresh).await.status(), StatusCode::ACCEPTED);
    clock.advance(TimeDelta::minutes(5) + TimeDelta::seconds(1));
    let fresh = api.sessions.renewed(&fresh);
    problem(protected(&api, &fresh).await, 401, "reauth_required").await;
    let refresh = json!({"refreshToken": tokens["refreshToken"]});
    assert_eq!(api.post("/v1/auth/refresh", &refresh).await.status(), StatusCode::OK, "it stays as it is");
    let facts = api.facts("auth.reauthenticated").await;
    let outcomes: Vec<&Value> = facts.iter().map(|fact| &fact["data"]["outcome"]).collect();
    assert_eq!(outcomes, ["failure", "success"]);
    for fact in &facts {
        assert_eq!(fact["data"]["detail"]["purpose"], "reauthenticate");
        assert_eq!(fact["data"]["target"]["kind"], "session");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn who_guesses_at_the_password_with_a_session_waits_and_is_on_record() {
    let (api, _clock) = start().await;
    api.verified_account(EMAIL).await;
    let access = token(&api.login_tokens(EMAIL).await, "accessToken");
    let wrong = json!({"password": "another wrong password"});
    for _ in 0..5 {
        problem(reauthenticate(&api, &access, &wrong).await, 401, "invalid_credentials").await;
    }
    problem(reauthenticate(&api, &access, &wrong).await, 429, "too_many_attempts").await;
    let facts = api.facts("auth.reauthenticated").await;
    let reasons: Vec<&Value> = facts.iter().map(|fact| &fact["data"]["reason"]).collect();
    assert_eq!(reasons.iter().filter(|reason| **reason == "wrong_password").count(), 5);
    assert_eq!(reasons.last().unwrap(), &"too_many_attempts");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_second_factor_is_part_of_the_proof() {
    let account = ProtectedAccount::new().await;
    let api = &account.api;
    account.clock.advance(TimeDelta::minutes(6));
    let access = &api.sessions.renewed(&account.access_token);
    problem(reauthenticate(api, access, &json!({"password": PASSWORD})).await, 401, "otp_required").await;
    let wrong = json!({"password": PASSWORD, "otp": account.app.wrong_code()});
    problem(reauthenticate(api, access, &wrong).await, 400, "otp_invalid").await;
    let code = account.app.code();
    let proof = json!({"password": PASSWORD, "otp": code});
    let fresh = token(&body(reauthenticate(api, access, &proof).await).await, "accessToken");
    assert_eq!(protected(api, &fresh).await.status(), StatusCode::ACCEPTED);
    problem(reauthenticate(api, access, &proof).await, 400, "otp_invalid").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_session_that_is_over_is_not_revived() {
    let (api, _) = start().await;
    api.verified_account(EMAIL).await;
    let access = token(&api.login_tokens(EMAIL).await, "accessToken");
    assert_eq!(by(&api, &access, "/v1/auth/logout", None).await.status(), StatusCode::OK);
    problem(reauthenticate(&api, &access, &json!({"password": PASSWORD})).await, 401, "invalid_token").await;
    let missing = api.post(REAUTHENTICATE, &json!({"password": PASSWORD})).await;
    problem(missing, 401, "missing_token").await;
}
