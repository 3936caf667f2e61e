//! The headers that every answer has, whatever its status.

use std::collections::BTreeSet;

use reqwest::{Method, Response, header};
use serde_json::json;

use crate::{
    documented::operations,
    harness::{Changes, Limits, PASSWORD, TestApi},
};

const EXPECTED: &[(&str, &str)] = &[
    ("strict-transport-security", "max-age=31536000; includeSubDomains"),
    ("x-content-type-options", "nosniff"),
    (
        "content-security-policy",
        "default-src 'none'; base-uri 'none'; object-src 'none'; frame-ancestors 'none'",
    ),
    ("referrer-policy", "no-referrer"),
    ("cross-origin-resource-policy", "same-site"),
];
/// What tells too much, or is obsolete.
const UNWANTED: &[&str] = &["server", "x-powered-by", "x-xss-protection", "x-aspnet-version"];
/// The answers that may be kept.
const CACHEABLE: &[&str] = &["/.well-known/paserk.json"];

#[tokio::test(flavor = "multi_thread")]
async fn web_05_every_answer_has_the_security_headers() {
    let api = TestApi::start_with(Changes { allowed_hosts: &["127.0.0.1"], ..Changes::default() }).await;
    let mut answers = Vec::new();
    for operation in operations(&api).await {
        for method in [operation.method.clone(), Method::PUT, Method::OPTIONS, Method::HEAD] {
            answers.push(api.request(method, &operation.path()).send().await.unwrap());
        }
    }
    answers.extend(forced(&api).await);
    answers.extend(limited_and_unavailable().await);
    let mut statuses = BTreeSet::new();
    for answer in &answers {
        statuses.insert(answer.status().as_u16());
        check(answer);
    }
    // Whoever makes a new status: force it below.
    for status in [200, 202, 303, 400, 401, 404, 405, 413, 415, 421, 422, 429, 431, 500, 503] {
        assert!(statuses.contains(&status), "{status} is not among {statuses:?}");
    }
}

fn check(answer: &Response) {
    let (headers, what) = (answer.headers(), format!("{} {}", answer.status(), answer.url()));
    for (name, value) in EXPECTED {
        assert_eq!(headers.get(*name).unwrap_or_else(|| panic!("no {name}: {what}")), value, "{what}");
        assert_eq!(headers.get_all(*name).iter().count(), 1, "{what}");
    }
    for name in UNWANTED {
        assert!(!headers.contains_key(*name), "{name}: {what}");
    }
    if !CACHEABLE.contains(&answer.url().path()) {
        assert_eq!(headers[header::CACHE_CONTROL], "no-store", "{what}");
    }
    assert!(headers.contains_key("x-request-id"), "{what}");
}

/// Answers that no operation gives by itself.
async fn forced(api: &TestApi) -> Vec<Response> {
    let login = "/v1/auth/login";
    let registration = json!({"email": "ada@example.test", "password": PASSWORD});
    let short = json!({"email": "ada@example.test", "password": "short"});
    let post = |content_type: &'static str| {
        api.request(Method::POST, login).header(header::CONTENT_TYPE, content_type).body("{}")
    };
    let mut answers = vec![
        api.get("/nowhere").send().await.unwrap(),
        api.get("/v1/auth/verify-email?token=x").send().await.unwrap(),
        api.post("/v1/auth/register", &registration).await,
        api.post("/v1/auth/register", &short).await,
        api.post(login, &json!({"email": "ada@example.test", "password": "x".repeat(17_000)})).await,
        api.login("nobody@example.test", PASSWORD).await,
        api.login("ada@example.test", PASSWORD).await,
        post("text/plain").send().await.unwrap(),
        api.get("/v1/auth/me").header(header::HOST, "evil.test").send().await.unwrap(),
        api.get("/v1/auth/me").header(header::COOKIE, "x".repeat(40_000)).send().await.unwrap(),
    ];
    // A defect: no table.
    api.execute("ALTER TABLE auth.users RENAME TO gone").await;
    answers.push(api.login("ada@example.test", PASSWORD).await);
    answers
}

/// The answers of a limit that is used up, and of an outage.
async fn limited_and_unavailable() -> Vec<Response> {
    let api = TestApi::start_with(Changes { limits: Limits::InProcess, ..Changes::default() }).await;
    let mut answers = Vec::new();
    for _ in 0..11 {
        answers.push(api.login("nobody@example.test", PASSWORD).await);
    }
    api.sessions.set_unavailable(true);
    answers.push(api.post("/v1/auth/refresh", &json!({"refreshToken": "far_x"})).await);
    answers
}
