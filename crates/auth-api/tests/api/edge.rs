use reqwest::{Method, StatusCode, header};
use serde_json::json;

use crate::harness::{Changes, Limits, PASSWORD, TestApi, problem};

const LOGIN: &str = "/v1/auth/login";

#[tokio::test(flavor = "multi_thread")]
async fn bodies_that_are_not_understood_are_explained() {
    let api = TestApi::start().await;
    let post = |body: &str| {
        let request = api.request(Method::POST, LOGIN).header(header::CONTENT_TYPE, "application/json");
        request.body(body.to_owned()).send()
    };
    for text in [
        "",
        "{",
        "[]",
        "null",
        "\"text\"",
        "{\"email\":\"a\"",
        "{} trailing",
        "\u{feff}{}",
        "{\"a\":\"\\ud800\"}",
    ] {
        let answer = post(text).await.unwrap();
        assert_eq!(answer.status(), StatusCode::BAD_REQUEST, "{text:?}");
    }
    problem(post("{").await.unwrap(), 400, "malformed_json").await;
    for (text, field, code) in [
        (r#"{"email":7,"password":"x"}"#, "email", "invalid_type"),
        (r#"{"email":"a@b.test"}"#, "password", "missing_field"),
        (r#"{"email":"a@b.test","password":"x","admin":true}"#, "admin", "unknown_field"),
        (r#"{"email":"a@b.test","password":"x","password":"y"}"#, "password", "duplicate_field"),
        (r#"{"email":"nobody","password":"x"}"#, "email", "email_invalid"),
        ("{\"email\":\"a\\u0000@b.test\",\"password\":\"x\"}", "email", "email_invalid"),
    ] {
        let problem = problem(post(text).await.unwrap(), 400, "invalid_request").await;
        assert_eq!(
            (problem["errors"][0]["field"].as_str(), problem["errors"][0]["code"].as_str()),
            (Some(field), Some(code))
        );
    }
    let invalid_utf8 = api.request(Method::POST, LOGIN).header(header::CONTENT_TYPE, "application/json");
    problem(invalid_utf8.body(vec![b'{', 0xff, b'}']).send().await.unwrap(), 400, "malformed_json").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn only_plain_json_of_a_bounded_size_is_read() {
    let api = TestApi::start().await;
    let body = json!({"email": "a@b.test", "password": "x"}).to_string();
    for content_type in [
        "text/plain",
        "application/x-www-form-urlencoded",
        "application/json; charset=latin1",
        "multipart/form-data",
    ] {
        let request = api.request(Method::POST, LOGIN).header(header::CONTENT_TYPE, content_type);
        problem(request.body(body.clone()).send().await.unwrap(), 415, "unsupported_media_type").await;
    }
    let request = api.request(Method::POST, LOGIN).body(body.clone());
    problem(request.send().await.unwrap(), 415, "unsupported_media_type").await;
    let request = api.request(Method::POST, LOGIN).header(header::CONTENT_TYPE, "application/json");
    let request = request.header(header::CONTENT_ENCODING, "gzip").body(body.clone());
    problem(request.send().await.unwrap(), 415, "unsupported_media_type").await;
    let request =
        api.request(Method::POST, LOGIN).header(header::CONTENT_TYPE, "Application/JSON; charset=\"UTF-8\"");
    problem(request.body(body).send().await.unwrap(), 401, "invalid_credentials").await;

    let large = json!({"email": "a@b.test", "password": "x".repeat(17_000)});
    problem(api.post(LOGIN, &large).await, 413, "payload_too_large").await;
    let chunked = futures::stream::iter((0..20).map(|_| Ok::<_, std::io::Error>(vec![b' '; 1024])));
    let request = api.request(Method::POST, LOGIN).header(header::CONTENT_TYPE, "application/json");
    let answer = request.body(reqwest::Body::wrap_stream(chunked)).send().await.unwrap();
    problem(answer, 413, "payload_too_large").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn every_answer_has_the_security_headers_and_an_id() {
    let api = TestApi::start().await;
    let answers = [
        api.get("/health").send().await.unwrap(),
        api.get("/nowhere").send().await.unwrap(),
        api.get("/v1/auth/me").send().await.unwrap(),
        api.request(Method::PUT, LOGIN).send().await.unwrap(),
        api.post(LOGIN, &json!({"email": "a@b.test", "password": PASSWORD})).await,
        api.post(LOGIN, &json!({"email": "a@b.test", "password": "x".repeat(17_000)})).await,
        api.get("/.well-known/paserk.json").send().await.unwrap(),
    ];
    for answer in &answers {
        let headers = answer.headers();
        for (name, value) in [
            ("strict-transport-security", "max-age=31536000; includeSubDomains"),
            ("x-content-type-options", "nosniff"),
            (
                "content-security-policy",
                "default-src 'none'; base-uri 'none'; object-src 'none'; frame-ancestors 'none'",
            ),
            ("referrer-policy", "no-referrer"),
            ("cross-origin-resource-policy", "same-site"),
        ] {
            assert_eq!(headers[name], value, "{}", answer.url());
        }
        assert!(headers.contains_key("cache-control") && headers.contains_key("x-request-id"));
        assert!(!headers.contains_key("server") && !headers.contains_key("x-powered-by"));
    }
    assert_eq!(answers[3].headers()["allow"], "POST");
    assert_eq!(answers[3].status(), StatusCode::METHOD_NOT_ALLOWED);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_well_formed_request_id_is_kept() {
    let api = TestApi::start().await;
    let kept = api.get("/health").header("x-request-id", "my-id_1.2~3").send().await.unwrap();
    assert_eq!(kept.headers()["x-request-id"], "my-id_1.2~3");
    let replaced = api.get("/health").header("x-request-id", "not a plain id").send().await.unwrap();
    assert_ne!(replaced.headers()["x-request-id"], "not a plain id");
}

#[tokio::test(flavor = "multi_thread")]
async fn metrics_are_for_the_allowed_networks() {
    let api = TestApi::start_with(Changes { limits: Limits::InProcess, ..Changes::default() }).await;
    let allowed = api.get("/metrics").send().await.unwrap();
    assert_eq!(allowed.status(), StatusCode::OK);
    let text = allowed.text().await.unwrap();
    for name in [
        "http_request_duration_seconds",
        "login_success_total",
        "login_failure_total",
        "refresh_success_total",
        "totp_failure_total",
        "rate_limit_block_total",
        "account_lockouts_total",
        "password_hash_seconds",
        "password_hash_queue_depth",
        "outbox_pending",
        "outbox_oldest_seconds",
    ] {
        assert!(text.contains(name), "{name}");
    }
    for forwarded in ["203.0.113.9", "nonsense", "127.0.0.1"] {
        let through_a_proxy = api.get("/metrics").header("x-forwarded-for", forwarded).send().await.unwrap();
        problem(through_a_proxy, 404, "not_found").await;
    }
    let closed =
        TestApi::start_with(Changes { metrics_allow: Some("10.0.0.0/8"), ..Changes::default() }).await;
    problem(closed.get("/metrics").send().await.unwrap(), 404, "not_found").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn paths_of_strangers_are_one_series() {
    let api = TestApi::start().await;
    for index in 0..20 {
        api.get(&format!("/v1/{index}")).send().await.unwrap();
    }
    let text = api.get("/metrics").send().await.unwrap().text().await.unwrap();
    assert!(
        text.contains(
            r#"http_request_duration_seconds_count{method="GET",route="unmatched",status="404"} 20"#
        )
    );
}
