use std::time::{Duration, Instant};

use reqwest::StatusCode;
use serde_json::json;

use crate::harness::{Changes, PASSWORD, TestApi, problem};

const EMAIL: &str = "ada@example.test";

#[tokio::test(flavor = "multi_thread")]
async fn without_session_service_accounts_go_on_and_sessions_wait() {
    let nobody = Some("127.0.0.1:1".parse().unwrap());
    let api = TestApi::start_with(Changes { session_service: nobody, ..Changes::default() }).await;
    api.verified_account(EMAIL).await;
    let started = Instant::now();
    for answer in [
        api.login(EMAIL, PASSWORD).await,
        api.post("/v1/auth/refresh", &json!({"refreshToken": "far_x"})).await,
        api.post("/v1/auth/logout", &json!({"refreshToken": "far_x"})).await,
        api.get("/v1/auth/me").bearer_auth("v4.public.x").send().await.unwrap(),
        api.get("/.well-known/paserk.json").send().await.unwrap(),
    ] {
        assert_eq!(answer.headers()["retry-after"], "2");
        problem(answer, 503, "unavailable").await;
    }
    assert!(started.elapsed() < Duration::from_secs(5), "{:?}", started.elapsed());
    problem(api.login(EMAIL, "not the right password").await, 401, "invalid_credentials").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn without_postgres_answers_are_quick_and_honest() {
    let url = "postgres://nobody:nothing@127.0.0.1:1/none".to_owned().into();
    let api = TestApi::start_with(Changes { database_url: Some(url), ..Changes::default() }).await;
    for request in [
        ("/v1/auth/register", json!({"email": EMAIL, "password": PASSWORD})),
        ("/v1/auth/login", json!({"email": EMAIL, "password": PASSWORD})),
    ] {
        let started = Instant::now();
        problem(api.post(request.0, &request.1).await, 503, "unavailable").await;
        assert!(started.elapsed() < Duration::from_secs(1), "{}: {:?}", request.0, started.elapsed());
    }
    assert_eq!(api.get("/health").send().await.unwrap().status(), StatusCode::OK);
    assert_eq!(api.get("/ready").send().await.unwrap().status(), StatusCode::SERVICE_UNAVAILABLE);
}
