use reqwest::{Method, Response, StatusCode, header};
use serde_json::json;

use crate::harness::{CORS_ORIGINS, PASSWORD, TestApi, problem};

const LOGIN: &str = "/v1/auth/login";

/// Each looks a bit like one of [`CORS_ORIGINS`].
const STRANGERS: &[&str] = &[
    "https://evil.test",
    "https://sub.evil.app.host",
    "https://app.host.evil.test",
    "https://sub.app.host",
    "https://evilapp.host",
    "https://app.hostevil",
    "https://appxhost",
    "https://app-host",
    "null",
    "NULL",
    "",
    "*",
    "http://app.host",
    "https://app.host:443",
    "https://app.host:8443",
    "https://APP.host",
    "HTTPS://app.host",
    "https://app.host.",
    "https://app.host/",
    "https://app.host/path",
    "https://app.host?query",
    "https://app.host#fragment",
    "https://user@app.host",
    "https://app.host@evil.test",
    "https://app.host, https://evil.test",
    "https://evil.test https://app.host",
    "https:app.host",
    "//app.host",
    "app.host",
    "https://shop.example.test",
    "https://shop.example.test:8444",
    "https://app.example.test",
    "https://api.example.test",
    "file://",
    "chrome-extension://abcdefghijklmnop",
    "https://127.0.0.1",
];

async fn preflight(api: &TestApi, origin: &str, method: &str, headers: &str) -> Response {
    let request = api.request(Method::OPTIONS, LOGIN).header(header::ORIGIN, origin);
    let request = request.header("access-control-request-method", method);
    request.header("access-control-request-headers", headers).send().await.unwrap()
}

fn varies_by_origin(answer: &Response) -> bool {
    let vary = answer.headers().get_all(header::VARY).iter();
    vary.flat_map(|value| value.to_str().unwrap().split(','))
        .any(|name| name.trim().eq_ignore_ascii_case("origin"))
}

#[tokio::test(flavor = "multi_thread")]
async fn web_03_only_listed_origins_may_read_answers() {
    let api = TestApi::start().await;
    assert!(STRANGERS.len() >= 30);
    for origin in STRANGERS {
        let answers = [
            preflight(&api, origin, "POST", "content-type").await,
            api.get("/v1/auth/config").header(header::ORIGIN, *origin).send().await.unwrap(),
            api.get("/nowhere").header(header::ORIGIN, *origin).send().await.unwrap(),
            api.request(Method::POST, LOGIN).header(header::ORIGIN, *origin).send().await.unwrap(),
        ];
        for answer in &answers {
            assert!(
                !answer.headers().contains_key("access-control-allow-origin"),
                "{origin} {}",
                answer.url()
            );
            assert!(varies_by_origin(answer), "{origin} {}", answer.url());
        }
    }
    for origin in CORS_ORIGINS {
        let answers = [
            preflight(&api, origin, "POST", "content-type, x-token-transport").await,
            api.get("/v1/auth/config").header(header::ORIGIN, origin).send().await.unwrap(),
            api.get("/nowhere").header(header::ORIGIN, origin).send().await.unwrap(),
            api.request(Method::POST, LOGIN).header(header::ORIGIN, origin).send().await.unwrap(),
        ];
        for answer in &answers {
            assert_eq!(answer.headers()["access-control-allow-origin"], origin, "{}", answer.url());
            assert_eq!(answer.headers()["access-control-allow-credentials"], "true");
            assert!(varies_by_origin(answer), "{origin} {}", answer.url());
        }
    }
    for answer in [api.get("/health").send().await.unwrap(), api.get("/nowhere").send().await.unwrap()] {
        assert!(varies_by_origin(&answer));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn web_03_a_preflight_says_what_is_allowed() {
    let api = TestApi::start().await;
    let answer =
        preflight(&api, CORS_ORIGINS[0], "DELETE", "authorization,idempotency-key,traceparent").await;
    assert_eq!(answer.status(), StatusCode::OK);
    let headers = answer.headers();
    assert_eq!(headers["access-control-max-age"], "600");
    assert!(headers.contains_key("x-content-type-options") && headers.contains_key("x-request-id"));
    let listed = |name: &str| {
        let mut names: Vec<String> =
            headers[name].to_str().unwrap().split(',').map(|name| name.trim().to_lowercase()).collect();
        names.sort();
        names
    };
    assert_eq!(listed("access-control-allow-methods"), ["delete", "get", "patch", "post", "put"]);
    assert_eq!(
        listed("access-control-allow-headers"),
        [
            "authorization",
            "content-type",
            "idempotency-key",
            "traceparent",
            "x-request-id",
            "x-token-transport"
        ]
    );
    let answer = api.get("/v1/auth/config").header(header::ORIGIN, CORS_ORIGINS[0]).send().await.unwrap();
    let exposed = answer.headers()["access-control-expose-headers"].to_str().unwrap().to_lowercase();
    for name in ["x-request-id", "retry-after", "ratelimit", "ratelimit-policy"] {
        assert!(exposed.split(',').any(|exposed| exposed.trim() == name), "{exposed}");
    }

    for (origin, method, headers) in [
        ("https://evil.test", "POST", "content-type"),
        (CORS_ORIGINS[0], "TRACE", "content-type"),
        (CORS_ORIGINS[0], "POST", "x-forwarded-for"),
        (CORS_ORIGINS[0], "POST", "cookie"),
    ] {
        let answer = preflight(&api, origin, method, headers).await;
        assert!(!answer.headers().contains_key("access-control-allow-origin"));
        problem(answer, 403, "preflight_refused").await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn web_03_errors_can_be_read_by_listed_origins() {
    let api = TestApi::start().await;
    let request = api.request(Method::POST, LOGIN).header(header::ORIGIN, CORS_ORIGINS[1]);
    let answer = request.json(&json!({"email": "a@b.test", "password": PASSWORD})).send().await.unwrap();
    assert_eq!(answer.headers()["access-control-allow-origin"], CORS_ORIGINS[1]);
    problem(answer, 401, "invalid_credentials").await;
}
