use std::{collections::BTreeSet, sync::Arc};

use chrono::TimeDelta;
use clock::ManualClock;
use futures::future::join_all;
use reqwest::{Method, Response, StatusCode};
use serde_json::json;

use crate::harness::{Changes, PASSWORD, TestApi, body, problem};

const KEY: &str = "8e03978e-40d5-43dd-bc93-6894a57f9324";
const EMAIL: &str = "ada@example.test";

async fn register(api: &TestApi, key: &str, email: &str, password: &str) -> Response {
    let request = api.request(Method::POST, "/v1/auth/register").header("idempotency-key", key);
    request.json(&json!({"email": email, "password": password})).send().await.unwrap()
}

async fn registrations(api: &TestApi) -> usize {
    api.deferred_done().await;
    api.facts("user.registered").await.len()
}

async fn kept(api: &TestApi) -> String {
    api.sql("SELECT count(*) FROM auth.idempotency_keys").await
}

#[tokio::test(flavor = "multi_thread")]
async fn the_same_request_gets_the_same_answer_and_does_nothing() {
    let api = TestApi::start().await;
    let first = register(&api, KEY, EMAIL, PASSWORD).await;
    let content_type = first.headers()["content-type"].clone();
    assert_eq!(first.status(), StatusCode::ACCEPTED);
    let first = body(first).await;
    let again = register(&api, KEY, EMAIL, PASSWORD).await;
    assert_eq!((again.status(), &again.headers()["content-type"]), (StatusCode::ACCEPTED, &content_type));
    assert!(
        again.headers().contains_key("x-request-id")
            && again.headers().contains_key("x-content-type-options")
    );
    assert_eq!(body(again).await, first);
    assert_eq!(registrations(&api).await, 1);

    let other = "other@example.test";
    problem(register(&api, KEY, other, PASSWORD).await, 422, "idempotency_key_reused").await;
    problem(register(&api, KEY, EMAIL, "AnotherPassword456").await, 422, "idempotency_key_reused").await;
    let new_key = register(&api, "another key, with spaces", EMAIL, PASSWORD).await;
    assert_ne!(body(new_key).await["registrationHandle"], first["registrationHandle"]);

    let stored = api.sql("SELECT string_agg(encode(answer, 'escape') || encode(request_hash, 'escape'), '') FROM auth.idempotency_keys").await;
    assert!(!stored.contains("frh_") && !stored.contains(first["registrationHandle"].as_str().unwrap()));
}

#[tokio::test(flavor = "multi_thread")]
async fn keys_must_be_hard_to_hit_by_chance() {
    let api = TestApi::start().await;
    for key in ["", "short", &"x".repeat(256)] {
        problem(register(&api, key, EMAIL, PASSWORD).await, 400, "idempotency_key_invalid").await;
    }
    assert_eq!(registrations(&api).await, 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn parallel_requests_with_one_key_are_done_once() {
    let api = TestApi::start().await;
    let answers = join_all((0..20).map(|_| register(&api, KEY, EMAIL, PASSWORD))).await;
    let mut handles = BTreeSet::new();
    for answer in answers {
        if answer.status() == StatusCode::CONFLICT {
            assert_eq!(answer.headers()["retry-after"], "1");
            problem(answer, 409, "idempotency_in_progress").await;
        } else {
            assert_eq!(answer.status(), StatusCode::ACCEPTED);
            handles.insert(body(answer).await["registrationHandle"].as_str().unwrap().to_owned());
        }
    }
    assert_eq!(handles.len(), 1);
    assert_eq!(registrations(&api).await, 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn refusals_and_failures_leave_nothing_and_the_key_free() {
    let api = TestApi::start_with(Changes { registration_closed: true, ..Changes::default() }).await;
    for _ in 0..2 {
        problem(register(&api, KEY, EMAIL, PASSWORD).await, 403, "registration_disabled").await;
    }
    assert_eq!(kept(&api).await, "0");

    let api = TestApi::start().await;
    for number in 0..10 {
        let junk = json!({"token": format!("fat_{number:043}"), "newPassword": PASSWORD});
        let request = api.request(Method::POST, "/v1/auth/reset-password");
        let request = request.header("idempotency-key", format!("{KEY}-{number}")).json(&junk);
        problem(request.send().await.unwrap(), 400, "token_invalid").await;
    }
    assert_eq!(kept(&api).await, "0");
    problem(register(&api, KEY, EMAIL, "passwordpassword").await, 422, "password_common").await;
    api.execute("ALTER TABLE auth.deferred_requests RENAME TO elsewhere").await;
    problem(register(&api, KEY, EMAIL, PASSWORD).await, 500, "internal").await;
    api.execute("ALTER TABLE auth.elsewhere RENAME TO deferred_requests").await;
    assert_eq!(register(&api, KEY, EMAIL, PASSWORD).await.status(), StatusCode::ACCEPTED);
    assert_eq!(registrations(&api).await, 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_key_whose_request_died_is_taken_over_and_an_old_one_forgotten() {
    let clock = Arc::new(ManualClock::new(clock::Clock::now(&clock::SystemClock)));
    let shared: clock::SharedClock = Arc::<ManualClock>::clone(&clock);
    let api = TestApi::start_with(Changes { clock: Some(shared), ..Changes::default() }).await;
    let first = body(register(&api, KEY, EMAIL, PASSWORD).await).await;
    // As if the process had died before it answered.
    api.execute("UPDATE auth.idempotency_keys SET answer = NULL").await;
    problem(register(&api, KEY, EMAIL, PASSWORD).await, 409, "idempotency_in_progress").await;
    clock.advance(TimeDelta::seconds(31));
    let second = body(register(&api, KEY, EMAIL, PASSWORD).await).await;
    assert_ne!(second, first);
    assert_eq!(body(register(&api, KEY, EMAIL, PASSWORD).await).await, second);

    clock.advance(TimeDelta::hours(24));
    let third = body(register(&api, KEY, EMAIL, PASSWORD).await).await;
    assert_ne!(third, second);
}
