use std::time::{Duration, Instant};

use futures::future::join_all;
use reqwest::{Method, StatusCode, header};
use serde_json::json;

use crate::harness::{CORS_ORIGINS, PASSWORD, TestApi, problem};

const LOGIN: &str = "/v1/auth/login";
const DEADLINE: Duration = Duration::from_secs(3);

/// Every statement that inserts into `table` takes nearly as long as a statement may.
async fn slow_down(api: &TestApi, table: &str) {
    api.execute(
        "CREATE OR REPLACE FUNCTION auth.slow() RETURNS trigger LANGUAGE plpgsql AS \
         $$ BEGIN PERFORM pg_sleep(1.8); RETURN NULL; END $$",
    )
    .await;
    api.execute(&format!(
        "CREATE TRIGGER slow AFTER INSERT ON auth.{table} FOR EACH STATEMENT EXECUTE FUNCTION auth.slow()"
    ))
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn work_that_takes_too_long_is_given_up() {
    let api = TestApi::start().await;
    for table in ["attempts", "outbox"] {
        slow_down(&api, table).await;
    }
    let login = |number: usize| {
        let body = json!({"email": format!("nobody{number}@example.test"), "password": PASSWORD});
        let request = api.request(Method::POST, LOGIN).header(header::ORIGIN, CORS_ORIGINS[0]);
        request.json(&body).send()
    };
    let started = Instant::now();
    let answer = login(0).await.unwrap();
    let elapsed = started.elapsed();
    assert!(elapsed >= DEADLINE && elapsed < DEADLINE + Duration::from_millis(700), "{elapsed:?}");
    assert_eq!(answer.headers()["retry-after"], "2");
    assert_eq!(answer.headers()["x-content-type-options"], "nosniff");
    assert_eq!(answer.headers()["access-control-allow-origin"], CORS_ORIGINS[0]);
    problem(answer, 503, "deadline_exceeded").await;
    let text = api.get("/metrics").send().await.unwrap().text().await.unwrap();
    let series =
        r#"http_request_duration_seconds_count{method="POST",route="/v1/auth/login",status="503"} 1"#;
    assert!(text.contains(series));

    // More than the pool has connections: none of them is lost.
    let answers = join_all((1..=12).map(login)).await;
    assert!(answers.into_iter().all(|answer| answer.unwrap().status() == StatusCode::SERVICE_UNAVAILABLE));
    for table in ["attempts", "outbox"] {
        api.execute(&format!("DROP TRIGGER slow ON auth.{table}")).await;
    }
    for number in 20..40 {
        problem(login(number).await.unwrap(), 401, "invalid_credentials").await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_time_in_which_a_body_arrives_is_the_clients() {
    let api = TestApi::start().await;
    let body = json!({"email": "nobody@example.test", "password": PASSWORD}).to_string();
    let (first, rest) = (body[..10].to_owned(), body[10..].to_owned());
    let slow = futures::stream::unfold(vec![rest, first], async |mut chunks| {
        let chunk = chunks.pop()?;
        if chunks.is_empty() {
            tokio::time::sleep(DEADLINE + Duration::from_millis(300)).await;
        }
        Some((Ok::<_, std::io::Error>(chunk), chunks))
    });
    let request = api.request(Method::POST, LOGIN).header(header::CONTENT_TYPE, "application/json");
    let answer = request.body(reqwest::Body::wrap_stream(slow)).send().await.unwrap();
    problem(answer, 401, "invalid_credentials").await;
}
