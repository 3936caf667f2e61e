//! Requests that are not quite HTTP, and requests that mean to be another one than they look.

use std::collections::BTreeSet;

use reqwest::{Method, StatusCode, header};
use serde_json::{Value, json};

use crate::{
    documented::{Operation, address, operations},
    harness::{Changes, PASSWORD, TestApi, body, problem},
    raw_socket::{answers, status, until_closed},
};

/// A second request, hidden behind a first one.
const HIDDEN: &str = "GET /version HTTP/1.1\r\nHost: localhost\r\n\r\n";

/// Headers of a POST that two parsers could understand differently, each with the body that follows.
const AMBIGUOUS: &[(&str, &str)] = &[
    ("Content-Length: 6\r\nTransfer-Encoding: chunked", "0\r\n\r\nG"),
    ("Transfer-Encoding: chunked\r\nContent-Length: 6", "0\r\n\r\nG"),
    ("Transfer-Encoding: chunked\nContent-Length: 6", "0\r\n\r\nG"),
    ("Content-Length: 2\r\nContent-Length: 7", "{}"),
    ("Content-Length: 2\r\nContent-Length: 2", "{}"),
    ("Content-Length: 2, 2", "{}"),
    ("Content-Length: 2, 7", "{}"),
    ("Content-Length: +2", "{}"),
    ("Content-Length: -2", "{}"),
    ("Content-Length: 0x2", "{}"),
    ("Content-Length: 2 2", "{}"),
    ("Content-Length: 2;", "{}"),
    ("Content-Length: 2.0", "{}"),
    ("Content-Length: \"2\"", "{}"),
    ("Content-Length: 99999999999999999999", "{}"),
    ("Content-Length:", "{}"),
    ("Content-Length : 2", "{}"),
    ("Content-Length\t: 2", "{}"),
    ("Content-Length\0: 2", "{}"),
    ("Transfer-Encoding : chunked", "0\r\n\r\n"),
    ("Transfer-Encoding\t: chunked", "0\r\n\r\n"),
    ("Transfer-Encoding: xchunked", "0\r\n\r\n"),
    ("Transfer-Encoding: chunked, identity", "0\r\n\r\n"),
    ("Transfer-Encoding: identity, chunked", "0\r\n\r\n"),
    ("Transfer-Encoding: gzip, chunked", "0\r\n\r\n"),
    ("Transfer-Encoding: identity", "{}"),
    ("Transfer-Encoding: identity\r\nContent-Length: 2", "{}"),
    ("Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked", "0\r\n\r\n"),
    ("Transfer-Encoding: chunked\r\nTransfer-Encoding: identity", "0\r\n\r\n"),
    ("Transfer-Encoding: \"chunked\"", "0\r\n\r\n"),
    ("Transfer-Encoding: chunked;q=1", "0\r\n\r\n"),
    ("Transfer-Encoding: \u{b}chunked", "0\r\n\r\n"),
    ("Transfer-Encoding: chunked\0", "0\r\n\r\n"),
    ("Transfer-Encoding:", "0\r\n\r\n"),
    ("X: y\r\n Transfer-Encoding: chunked", "0\r\n\r\n"),
    ("X: y\r\n\tfolded", ""),
    ("Transfer-Encoding:\r\n chunked", "0\r\n\r\n"),
    ("X: a\rContent-Length: 2", "{}"),
    ("X: a\0b", ""),
    ("No colon", ""),
    (": no name", ""),
    ("Host: other", ""),
    ("host: localhost", ""),
];

/// Chunked bodies that two parsers could understand differently.
const CHUNKS: &[&str] = &[
    "FFFFFFFFFFFFFFFFF\r\n{}",
    "10000000000000002\r\n{}\r\n0\r\n\r\n",
    "-1\r\n{}",
    "0x2\r\n{}\r\n0\r\n\r\n",
    " 2\r\n{}\r\n0\r\n\r\n",
    "\r\n{}\r\n0\r\n\r\n",
    "2\n{}\r\n0\r\n\r\n",
    "2\r{}\r\n0\r\n\r\n",
    "2;a\nb\r\n{}\r\n0\r\n\r\n",
    "2 2\r\n{}\r\n0\r\n\r\n",
    "2\r\n{} \r\n0\r\n\r\n",
    "2\r\n{}0\r\n\r\n",
    "2\r\n{}\n0\r\n\r\n",
    "g\r\n{}",
];

/// First lines that are no first lines.
const FIRST_LINES: &[&str] = &[
    "GET /version",
    "GET /version HTTP/0.9",
    "GET /version HTTP/2.0",
    "GET /version HTTP/1.2",
    "GET /version HTTP/11",
    "GET /version http/1.1",
    "GET  /version HTTP/1.1",
    "GET /version  HTTP/1.1",
    "GET\t/version\tHTTP/1.1",
    " GET /version HTTP/1.1",
    "GE(T /version HTTP/1.1",
    "GET /ver sion HTTP/1.1",
    "GET /ver\0sion HTTP/1.1",
    "GET /ver\rsion HTTP/1.1",
    "/version",
    "\0",
];

#[tokio::test(flavor = "multi_thread")]
async fn inp_12_no_request_hides_another() {
    let api = TestApi::start().await;
    let post = "POST /v1/auth/refresh HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n";
    let heads = AMBIGUOUS.iter().map(|(headers, body)| format!("{post}{headers}\r\n\r\n{body}{HIDDEN}"));
    let lines = FIRST_LINES.iter().map(|line| format!("{line}\r\nHost: localhost\r\n\r\n{HIDDEN}"));
    let odd_versions = [
        format!(
            "POST /v1/auth/refresh HTTP/1.0\r\nHost: localhost\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n{HIDDEN}"
        ),
        format!("POST /v1/auth/refresh HTTP/1.0\r\nHost: localhost\r\n\r\n{HIDDEN}"),
        format!("GET /version HTTP/1.1\r\n\r\n{HIDDEN}"),
    ];
    for payload in heads.chain(lines).chain(odd_versions) {
        let answer = until_closed(&api, payload.as_bytes()).await;
        assert_eq!((status(&answer), answers(&answer)), (400, 1), "{payload:?} -> {answer}");
    }
    for chunks in CHUNKS {
        let payload = format!("{post}Transfer-Encoding: chunked\r\n\r\n{chunks}{HIDDEN}");
        let answer = until_closed(&api, payload.as_bytes()).await;
        // What breaks in the middle of a body may be too late for an answer.
        assert!(matches!(status(&answer), 0 | 400) && answers(&answer) < 2, "{payload:?} -> {answer}");
    }
}

/// RFC 9112, section 2.2, lets a recipient take a bare LF for the end of a line. Then it must be one everywhere.
#[tokio::test(flavor = "multi_thread")]
async fn inp_12_a_bare_line_feed_ends_one_request() {
    let api = TestApi::start().await;
    let payload = format!(
        "GET /version HTTP/1.1\nHost: localhost\nContent-Length: {}\nConnection: close\n\n{HIDDEN}",
        HIDDEN.len()
    );
    let answer = until_closed(&api, payload.as_bytes()).await;
    assert_eq!((status(&answer), answers(&answer)), (200, 1), "{answer}");
    let upgrade = format!(
        "GET /version HTTP/1.1\r\nHost: localhost\r\nConnection: upgrade, close\r\nUpgrade: websocket\r\n\r\n{HIDDEN}"
    );
    assert_eq!(answers(&until_closed(&api, upgrade.as_bytes()).await), 1);
}

/// A body that the route does not read must not keep the connection, and is no request either.
#[tokio::test(flavor = "multi_thread")]
async fn inp_12_a_body_that_nobody_reads_ends_the_connection() {
    let api = TestApi::start().await;
    for (method, path) in
        [("GET", "/version"), ("GET", "/nowhere"), ("DELETE", "/v1/auth/login"), ("GET", "/v1/auth/me")]
    {
        for framing in ["Transfer-Encoding: chunked\r\n\r\n5\r\nhello", "Content-Length: 1000\r\n\r\nhello"] {
            let payload = format!("{method} {path} HTTP/1.1\r\nHost: localhost\r\n{framing}");
            let answer = until_closed(&api, payload.as_bytes()).await;
            assert_eq!(answers(&answer), 1, "{payload:?} -> {answer}");
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn inp_13_floods_of_headers_are_refused() {
    let api = TestApi::start().await;
    let get = "GET /v1/auth/me HTTP/1.1\r\nHost: localhost\r\n";
    let many = (0..101).map(|number| format!("X-{number}: y\r\n")).collect::<Vec<_>>().concat();
    let large = |name: &str, size: usize| format!("{get}{name}: {}\r\n\r\n", "x".repeat(size));
    let payloads = [
        format!("{get}{many}\r\n"),
        large("X", 64 * 1024),
        large("Cookie", 64 * 1024),
        large("Authorization", 64 * 1024),
        large("Accept-Language", 40 * 1024),
        large("X", 2 * 1024 * 1024),
        // The framework gives this one up without an answer.
        format!("{get}{}: y\r\n\r\n", "n".repeat(64 * 1024)),
        format!("GET /{} HTTP/1.1\r\nHost: localhost\r\n\r\n", "x".repeat(64 * 1024)),
        // Without an end.
        format!("{get}X: {}", "x".repeat(2 * 1024 * 1024)),
    ];
    for payload in payloads {
        let answer = until_closed(&api, payload.as_bytes()).await;
        let is_beyond = payload.len() > 1_000_000 || payload.contains(&"n".repeat(64 * 1024));
        let refused = answers(&answer) == 1 && matches!(status(&answer), 400 | 431 | 414);
        // Where the client still writes when the server has closed, the reset may overtake the answer.
        assert!(refused || (answer.is_empty() && is_beyond), "{} bytes -> {answer}", payload.len());
    }
    for _ in 0..20 {
        assert_eq!(api.get("/health").send().await.unwrap().status(), StatusCode::OK);
    }
    let large = api.get("/v1/auth/me").header(header::COOKIE, "x".repeat(40 * 1024)).send().await.unwrap();
    problem(large, 431, "head_too_large").await;
    let ordinary = api.get("/v1/auth/me").header(header::COOKIE, "x".repeat(8 * 1024)).send().await.unwrap();
    problem(ordinary, 401, "missing_token").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn inp_14_a_path_in_disguise_opens_nothing() {
    let api = TestApi::start().await;
    let token = logged_in(&api, "ada@example.test").await;
    let mut tried = 0;
    for operation in operations(&api).await.iter().filter(|operation| operation.is_protected) {
        for target in disguises(&operation.path()) {
            let answer = ask(&api, operation.method.as_str(), &target, "").await;
            assert!(matches!(answer, 400 | 401 | 404 | 405), "{} {target} -> {answer}", operation.method);
            tried += 1;
        }
    }
    for target in disguises("/v1/auth/me") {
        let anonymous = ask(&api, "GET", &target, "").await;
        let known = ask(&api, "GET", &target, &format!("Authorization: Bearer {token}\r\n")).await;
        let expected = if anonymous == 401 { 200 } else { anonymous };
        assert_eq!(known, expected, "{target}");
        let stranger = ask(&api, "GET", &target, "Authorization: Bearer v4.public.AAAA\r\n").await;
        assert_eq!(stranger, anonymous, "{target}");
    }
    for target in disguises("/metrics") {
        let answer = ask(&api, "GET", &target, "X-Forwarded-For: 203.0.113.9\r\n").await;
        assert!(matches!(answer, 400 | 404), "{target} -> {answer}");
    }
    assert!(tried >= 80, "{tried}");
}

async fn ask(api: &TestApi, method: &str, target: &str, headers: &str) -> u16 {
    let request =
        format!("{method} {target} HTTP/1.1\r\nHost: localhost\r\n{headers}Connection: close\r\n\r\n");
    let answer = until_closed(api, request.as_bytes()).await;
    assert_eq!(answers(&answer), 1, "{target} -> {answer}");
    status(&answer)
}

/// What some server or proxy takes off the end of a path.
const SUFFIXES: &[&str] = &[
    "/",
    "//",
    "/.",
    "/..",
    "/../me",
    "/%2e",
    "/%2e%2e",
    ";",
    ";a=b",
    "/;a=b",
    "%00",
    "%00.html",
    "%20",
    "%09",
    "%0a",
    "%0d%0a",
    ".json",
    ".html",
    ".css",
    "..",
    "?",
    "?x=/health",
    "#",
    "#/health",
    "%23",
    "%3f",
    "%3fx",
    "%2f",
    "%2fhealth",
    "/health",
    "/%2e%2e/health",
    "~",
    "*",
];

/// The ways to write `path` that some server or proxy takes for it.
fn disguises(path: &str) -> BTreeSet<String> {
    let mut targets = BTreeSet::from([path.to_owned(), path.to_uppercase()]);
    for (at, _) in path.match_indices('/') {
        let (before, after) = (&path[..at], &path[at + 1..]);
        for separator in [
            "//",
            "///",
            "/./",
            "/x/../",
            "/%2e/",
            "/%2E%2E/",
            "%2f",
            "%2F",
            "/%2f",
            "%252f",
            "\\",
            "%5c",
            "/\\/",
            "/;/",
            "/..;/",
            "/;x=y/",
            "/%00/",
            "%00/",
            "/%20/",
            "/%09",
            "/%c0%af",
            "/\u{2215}",
        ] {
            targets.insert(format!("{before}{separator}{after}"));
        }
    }
    for suffix in SUFFIXES {
        targets.insert(format!("{path}{suffix}"));
    }
    for prefix in [
        "/.",
        "/./",
        "//",
        "/%2e",
        "/%2f",
        "/x/..",
        "/health/..",
        "/health/%2e%2e",
        "/docs/..",
        "/docs/%2e%2e",
        "/docs/..%2f..",
        "/docs//..",
        "/health;",
        "/health%00",
        "/health%2f..",
        "/.well-known/..",
        "/.well-known/paserk.json/..",
        "/openapi.json/..",
        "http://localhost",
        "http://127.0.0.1",
        "https://evil.test",
        "/v1",
        "/v1/..",
        "/v2/../",
        "/V1/..",
    ] {
        targets.insert(format!("{prefix}{path}"));
    }
    for (at, letter) in path.char_indices().filter(|(_, letter)| letter.is_ascii_lowercase()) {
        let (before, after) = (&path[..at], &path[at + 1..]);
        targets.insert(format!("{before}%{:02x}{after}", u32::from(letter)));
        targets.insert(format!("{before}%25{:02X}{after}", u32::from(letter)));
        targets.insert(format!("{before}{}{after}", letter.to_ascii_uppercase()));
    }
    targets
}

#[tokio::test(flavor = "multi_thread")]
async fn inp_16_methods_that_are_not_documented_are_refused() {
    let api = TestApi::start().await;
    let operations = operations(&api).await;
    for Operation { template, .. } in &operations {
        let of_path: Vec<&Operation> =
            operations.iter().filter(|operation| operation.template == *template).collect();
        let documented: BTreeSet<&str> = of_path.iter().map(|operation| operation.method.as_str()).collect();
        let path = of_path[0].path();
        for method in ["TRACE", "PUT", "PATCH", "DELETE", "GET", "POST", "BREW", "PROPFIND", "get"] {
            if documented.contains(method) {
                continue;
            }
            let method = Method::from_bytes(method.as_bytes()).unwrap();
            let refused = api
                .request(method.clone(), &path)
                .header("x-forwarded-for", "203.0.113.7")
                .send()
                .await
                .unwrap();
            assert_eq!(refused.status(), StatusCode::METHOD_NOT_ALLOWED, "{method} {path}");
            let allow = refused.headers()[header::ALLOW].to_str().unwrap().to_owned();
            assert_eq!(allow.split(", ").collect::<BTreeSet<_>>(), documented, "{method} {path}");
            let text = refused.text().await.unwrap();
            assert!(!text.contains("203.0.113.7"), "{method} {path} repeats the request: {text}");
        }
    }
    for target in ["localhost:443", "/v1/auth/me", "evil.test:80"] {
        let connect =
            format!("CONNECT {target} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n{HIDDEN}");
        let answer = until_closed(&api, connect.as_bytes()).await;
        assert!(matches!(status(&answer), 400 | 405) && answers(&answer) == 1, "{target} -> {answer}");
    }
    for name in ["x-http-method-override", "x-http-method", "x-method-override"] {
        let overridden = api.get("/v1/auth/login").header(name, "POST").send().await.unwrap();
        assert_eq!(overridden.status(), StatusCode::METHOD_NOT_ALLOWED, "{name}");
        let overridden = api.request(Method::POST, "/v1/auth/me").header(name, "GET").send().await.unwrap();
        assert_eq!(overridden.status(), StatusCode::METHOD_NOT_ALLOWED, "{name}");
        let in_query = api.request(Method::POST, "/v1/auth/me?_method=GET").send().await.unwrap();
        assert_eq!(in_query.status(), StatusCode::METHOD_NOT_ALLOWED);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn inp_17_links_come_from_the_configuration_only() {
    let api = TestApi::start().await;
    for (number, headers) in [
        "Host: evil.test\r\n",
        "Host: app.example.test.evil.test\r\n",
        "Host: app.example.test:80@evil.test\r\n",
        "Host: localhost\r\nX-Forwarded-Host: evil.test\r\nX-Forwarded-Proto: http\r\nX-Forwarded-Port: 1\r\n",
        "Host: localhost\r\nForwarded: for=1.2.3.4;host=evil.test;proto=http\r\n",
        "Host: localhost\r\nX-Original-Host: evil.test\r\nX-Host: evil.test\r\nX-Original-URL: https://evil.test/\r\n",
        "Host: localhost\r\nOrigin: https://evil.test\r\nReferer: https://evil.test/\r\n",
    ]
    .iter()
    .enumerate()
    {
        for target in ["/v1/auth/register", "https://evil.test/v1/auth/register"] {
            let email = format!("ada{number}{}@example.test", target.len());
            let body = json!({"email": email, "password": PASSWORD}).to_string();
            let request = format!(
                "POST {target} HTTP/1.1\r\n{headers}X-Forwarded-For: {}\r\nContent-Type: application/json\r\nContent-Length: {}\r\n\
                 Connection: close\r\n\r\n{body}",
                address(number * 2 + target.len() % 2),
                body.len()
            );
            let answer = until_closed(&api, request.as_bytes()).await;
            assert!(matches!(status(&answer), 202 | 400 | 403), "{request} -> {answer}");
            assert!(!answer.contains("evil"), "{answer}");
            if status(&answer) == 202 {
                // Checks where the link leads.
                api.verification_token(&email).await;
            }
        }
    }
    assert!(api.mails().await.len() >= 10);
    for (_, parameters) in api.mails().await {
        assert!(!serde_json::to_string(&parameters).unwrap().contains("evil"));
    }
    let two =
        until_closed(&api, b"GET /version HTTP/1.1\r\nHost: localhost\r\nHost: evil.test\r\n\r\n").await;
    assert_eq!((status(&two), answers(&two)), (400, 1));
}

#[tokio::test(flavor = "multi_thread")]
async fn inp_17_hosts_that_are_not_listed_are_refused() {
    let api =
        TestApi::start_with(Changes { allowed_hosts: &["auth.example.test"], ..Changes::default() }).await;
    for host in [
        "evil.test",
        "auth.example.test.",
        "auth.example.test.evil.test",
        "127.0.0.1",
        "auth.example.test@evil.test",
        "*",
    ] {
        let refused = api.get("/v1/auth/me").header(header::HOST, host).send().await.unwrap();
        problem(refused, 421, "misdirected_request").await;
        let forwarded = api.get("/v1/auth/me").header(header::HOST, host);
        let forwarded = forwarded.header("x-forwarded-host", "auth.example.test").send().await.unwrap();
        problem(forwarded, 421, "misdirected_request").await;
    }
    for host in ["auth.example.test", "AUTH.example.TEST", "auth.example.test:8443"] {
        let known = api.get("/v1/auth/me").header(header::HOST, host).send().await.unwrap();
        problem(known, 401, "missing_token").await;
    }
    let elsewhere =
        "GET http://evil.test/v1/auth/me HTTP/1.1\r\nHost: auth.example.test\r\nConnection: close\r\n\r\n";
    assert_eq!(status(&until_closed(&api, elsewhere.as_bytes()).await), 421);
    let nameless = "GET /v1/auth/me HTTP/1.0\r\n\r\n";
    assert_eq!(status(&until_closed(&api, nameless.as_bytes()).await), 421);
    // Probes and scrapes come by address.
    for path in ["/health", "/ready", "/metrics"] {
        assert_eq!(api.get(path).send().await.unwrap().status(), StatusCode::OK, "{path}");
    }
}

async fn logged_in(api: &TestApi, email: &str) -> String {
    api.verified_account(email).await;
    let tokens: Value = body(api.login(email, PASSWORD).await).await;
    tokens["accessToken"].as_str().unwrap().to_owned()
}
