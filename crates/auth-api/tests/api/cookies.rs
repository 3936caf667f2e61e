//! Refresh tokens in cookies, and what a browser is told to forget.

use reqwest::{Method, RequestBuilder, Response, StatusCode, header};
use serde_json::{Value, json};

use crate::{
    fake_sessions::REFRESH_TTL,
    harness::{CORS_ORIGINS, FRONTEND, PASSWORD, TestApi, body, problem},
};

const EMAIL: &str = "ada@example.test";
const TRANSPORT: (&str, &str) = ("x-token-transport", "cookie");

/// One `Set-Cookie`: its value, and its attributes in the order of the alphabet.
fn set_cookie(answer: &Response, name: &str) -> (String, Vec<String>) {
    let all = answer.headers().get_all(header::SET_COOKIE).iter().map(|value| value.to_str().unwrap());
    let ours: Vec<&str> = all.filter(|cookie| cookie.starts_with(&format!("{name}="))).collect();
    assert_eq!(ours.len(), 1, "{ours:?}");
    let mut parts = ours[0].split("; ").map(str::to_owned);
    let value = parts.next().unwrap().split_once('=').unwrap().1.to_owned();
    let mut attributes: Vec<String> = parts.collect();
    attributes.sort();
    (value, attributes)
}

fn login(api: &TestApi) -> RequestBuilder {
    let body = json!({"email": EMAIL, "password": PASSWORD, "rememberMe": true});
    api.request(Method::POST, "/v1/auth/login").json(&body)
}

fn with_cookie(api: &TestApi, path: &str, cookie: &str) -> RequestBuilder {
    let request = api.request(Method::POST, path).header(TRANSPORT.0, TRANSPORT.1);
    request.header(header::COOKIE, format!("__Host-refresh={cookie}"))
}

async fn logged_in(api: &TestApi) -> (Value, String) {
    let answer = login(api).header(TRANSPORT.0, TRANSPORT.1).header(header::ORIGIN, FRONTEND);
    let answer = answer.send().await.unwrap();
    assert_eq!(answer.status(), StatusCode::OK);
    let (cookie, _) = set_cookie(&answer, "__Host-refresh");
    (body(answer).await, cookie)
}

#[tokio::test(flavor = "multi_thread")]
async fn web_01_the_refresh_cookie_is_for_nobody_else() {
    let api = TestApi::start().await;
    api.verified_account(EMAIL).await;
    let in_body = login(&api).send().await.unwrap();
    let cookies = in_body.headers().get_all(header::SET_COOKIE).iter();
    assert!(cookies.into_iter().all(|cookie| !cookie.to_str().unwrap().contains("refresh")));
    assert!(body(in_body).await["refreshToken"].is_string());

    let answer =
        login(&api).header(TRANSPORT.0, TRANSPORT.1).header(header::ORIGIN, FRONTEND).send().await.unwrap();
    let (cookie, mut attributes) = set_cookie(&answer, "__Host-refresh");
    let lifetime = attributes.remove(attributes.iter().position(|it| it.starts_with("Max-Age=")).unwrap());
    let lifetime: i64 = lifetime["Max-Age=".len()..].parse().unwrap();
    assert!((REFRESH_TTL.num_seconds() - lifetime).abs() <= 5, "{lifetime}");
    assert_eq!(attributes, ["HttpOnly", "Path=/", "SameSite=Strict", "Secure"]);
    let told = body(answer).await;
    assert!(told.get("refreshToken").is_none() && !told.to_string().contains(&cookie), "{told}");

    let renewed = with_cookie(&api, "/v1/auth/refresh", &cookie).header(header::ORIGIN, FRONTEND);
    let renewed = renewed.send().await.unwrap();
    assert_eq!(renewed.status(), StatusCode::OK);
    let (rotated, attributes) = set_cookie(&renewed, "__Host-refresh");
    assert_ne!(rotated, cookie);
    assert!(attributes.contains(&"Secure".to_owned()));
    assert!(body(renewed).await.get("refreshToken").is_none());
}

#[tokio::test(flavor = "multi_thread")]
async fn web_01_the_device_cookie_is_for_nobody_else() {
    let api = TestApi::start().await;
    api.verified_account(EMAIL).await;
    let answer = login(&api).send().await.unwrap();
    let (value, attributes) = set_cookie(&answer, "__Host-device");
    assert!(value.starts_with("fad_"), "{value}");
    assert_eq!(attributes, ["HttpOnly", "Max-Age=15552000", "Path=/", "SameSite=Strict", "Secure"]);

    // A browser that is known stays known for as long after each login.
    let again = login(&api).header(header::COOKIE, format!("__Host-device={value}")).send().await.unwrap();
    assert_eq!(set_cookie(&again, "__Host-device"), (value, attributes));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_cookie_counts_only_with_the_header_and_from_a_listed_page() {
    let api = TestApi::start().await;
    api.verified_account(EMAIL).await;
    let (_, cookie) = logged_in(&api).await;
    let refresh = || with_cookie(&api, "/v1/auth/refresh", &cookie);
    for origin in
        ["https://evil.test", "null", "http://app.example.test", "https://app.example.test.evil.test"]
    {
        let answer = refresh().header(header::ORIGIN, origin).header("sec-fetch-site", "same-origin");
        problem(answer.send().await.unwrap(), 403, "origin_not_allowed").await;
    }
    problem(refresh().send().await.unwrap(), 403, "origin_not_allowed").await;
    let same_site = refresh().header("sec-fetch-site", "same-site").send().await.unwrap();
    problem(same_site, 403, "origin_not_allowed").await;
    let strange = login(&api).header(TRANSPORT.0, TRANSPORT.1).header(header::ORIGIN, "https://evil.test");
    problem(strange.send().await.unwrap(), 403, "origin_not_allowed").await;

    let without_header = api.request(Method::POST, "/v1/auth/refresh").header(header::ORIGIN, FRONTEND);
    let without_header = without_header.header(header::COOKIE, format!("__Host-refresh={cookie}"));
    problem(without_header.send().await.unwrap(), 400, "invalid_request").await;
    let other_transport = api.request(Method::POST, "/v1/auth/refresh").header(TRANSPORT.0, "Cookie");
    let told = problem(other_transport.send().await.unwrap(), 400, "invalid_request").await;
    assert_eq!(told["errors"][0]["code"], "token_transport_unknown");
    let both = refresh().header(header::ORIGIN, FRONTEND).json(&json!({"refreshToken": "far_x"}));
    let told = problem(both.send().await.unwrap(), 400, "invalid_request").await;
    assert_eq!(told["errors"][0]["code"], "not_with_cookies");
    let no_cookie = api.request(Method::POST, "/v1/auth/refresh").header(TRANSPORT.0, TRANSPORT.1);
    problem(no_cookie.header(header::ORIGIN, FRONTEND).send().await.unwrap(), 401, "missing_token").await;

    let mut cookie = cookie.clone();
    for (name, value) in [
        ("origin", FRONTEND),
        ("origin", CORS_ORIGINS[0]),
        ("origin", "https://api.example.test"),
        ("sec-fetch-site", "same-origin"),
    ] {
        let answer = with_cookie(&api, "/v1/auth/refresh", &cookie).header(name, value).json(&json!({}));
        let answer = answer.send().await.unwrap();
        assert_eq!(answer.status(), StatusCode::OK, "{name}: {value}");
        cookie = set_cookie(&answer, "__Host-refresh").0;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn web_07_a_logout_leaves_nothing_in_the_browser() {
    let api = TestApi::start().await;
    api.verified_account(EMAIL).await;
    let (tokens, cookie) = logged_in(&api).await;
    let by_cookie = with_cookie(&api, "/v1/auth/logout", &cookie).header(header::ORIGIN, FRONTEND);
    let by_cookie = by_cookie.send().await.unwrap();
    forgets(&by_cookie);
    assert_eq!(api.sessions.live(), 0);
    let access = tokens["accessToken"].as_str().unwrap();
    api.until_refused(access).await;

    let again = with_cookie(&api, "/v1/auth/logout", &cookie).header(header::ORIGIN, FRONTEND);
    forgets(&again.send().await.unwrap());
    let without = api.request(Method::POST, "/v1/auth/logout").header(TRANSPORT.0, TRANSPORT.1);
    forgets(&without.header(header::ORIGIN, FRONTEND).send().await.unwrap());

    let tokens = api.login_tokens(EMAIL).await;
    let by_bearer = api.request(Method::POST, "/v1/auth/logout");
    forgets(&by_bearer.bearer_auth(tokens["accessToken"].as_str().unwrap()).send().await.unwrap());
    let strange = with_cookie(&api, "/v1/auth/logout", &cookie).header(header::ORIGIN, "https://evil.test");
    let strange = strange.send().await.unwrap();
    assert!(!strange.headers().contains_key("clear-site-data"));
    problem(strange, 403, "origin_not_allowed").await;
}

fn forgets(answer: &Response) {
    assert_eq!(answer.status(), StatusCode::OK);
    assert_eq!(answer.headers()["clear-site-data"], "\"cache\", \"storage\"");
    let (value, attributes) = set_cookie(answer, "__Host-refresh");
    assert_eq!(value, "");
    assert!(attributes.contains(&"Max-Age=0".to_owned()), "{attributes:?}");
    for attribute in ["Path=/", "Secure"] {
        assert!(attributes.contains(&attribute.to_owned()), "browsers ignore it without {attribute}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn web_04_the_link_of_a_mail_leads_to_the_frontend_only() {
    let api = TestApi::start().await;
    let token = format!("fat_{}", "A".repeat(43));
    for payload in PAYLOADS {
        for parameter in ["return_to", "redirect", "redirect_uri", "next", "url", "token"] {
            let mut url = reqwest::Url::parse(&api.url).unwrap().join("/v1/auth/verify-email").unwrap();
            url.query_pairs_mut().append_pair(parameter, payload).append_pair("token", &token);
            let raw = format!("{}/v1/auth/verify-email?{parameter}={payload}", api.url);
            for address in [url.to_string(), raw] {
                let Ok(request) = api.http.get(address).build() else { continue };
                let answer = api.http.execute(request).await.unwrap();
                if answer.status() == StatusCode::BAD_REQUEST {
                    continue;
                }
                assert_eq!(answer.status(), StatusCode::SEE_OTHER, "{payload}");
                let location = answer.headers()[header::LOCATION].to_str().unwrap();
                let page = "https://app.example.test/verify-email";
                assert!(
                    location == page || location == format!("{page}#token={token}"),
                    "{payload}: {location}"
                );
                assert_eq!(answer.headers().get_all(header::LOCATION).iter().count(), 1);
            }
        }
    }
}

/// What redirects were fooled by elsewhere.
const PAYLOADS: &[&str] = &[
    "//evil.test",
    "///evil.test",
    "////evil.test",
    "/\\evil.test",
    "\\/evil.test",
    "\\\\evil.test",
    "\\evil.test",
    "/\\/evil.test",
    "https:evil.test",
    "https:/evil.test",
    "https:\\evil.test",
    "https://evil.test",
    "HTTPS://EVIL.TEST",
    "http://evil.test",
    "https://evil@app.example.test",
    "https://app.example.test@evil.test",
    "https://app.example.test:x@evil.test",
    "https://app.example.test%40evil.test",
    "https://app.example.test.evil.test",
    "https://app.example.test%2eevil.test",
    "https://app.example.testevil.test",
    "https://evil.test/app.example.test",
    "https://evil.test?app.example.test",
    "https://evil.test#app.example.test",
    "https://evil.test\\.app.example.test",
    "https://evil.test%00.app.example.test",
    "https://evil.test%09.app.example.test",
    "https://evil.test%0a.app.example.test",
    "%2f%2fevil.test",
    "%2F%2Fevil.test",
    "%252f%252fevil.test",
    "%5cevil.test",
    "%5c%5cevil.test",
    "/%5cevil.test",
    "/%2fevil.test",
    "/%09/evil.test",
    "/%0a/evil.test",
    "/%0d/evil.test",
    "/\t/evil.test",
    "/\n/evil.test",
    "/\r/evil.test",
    "\t//evil.test",
    " //evil.test",
    "%20//evil.test",
    "%00//evil.test",
    "\u{0}//evil.test",
    "\u{2215}\u{2215}evil.test",
    "\u{2044}\u{2044}evil.test",
    "\u{ff0f}\u{ff0f}evil.test",
    "\u{3002}evil.test",
    "//evil\u{3002}test",
    "//evil\u{ff0e}test",
    "//\u{24d4}vil.test",
    "\u{202e}//evil.test",
    "\u{200b}//evil.test",
    "\u{feff}//evil.test",
    "javascript:alert(1)",
    "JavaScript:alert(1)",
    "java%0ascript:alert(1)",
    "java\tscript:alert(1)",
    "\u{1}javascript:alert(1)",
    "javascript://app.example.test/%0aalert(1)",
    "data:text/html,<script>alert(1)</script>",
    "data:text/html;base64,PHNjcmlwdD4=",
    "vbscript:msgbox(1)",
    "blob:https://evil.test/1",
    "file:///etc/passwd",
    "ftp://evil.test",
    "ws://evil.test",
    "intent://evil.test#Intent;scheme=https;end",
    "x%0d%0aLocation:%20https://evil.test",
    "x%0aSet-Cookie:%20a=b",
    "x\r\nLocation: https://evil.test",
    "%E5%98%8A%E5%98%8DLocation:%20https://evil.test",
    "@evil.test",
    ":@evil.test",
    "?https://evil.test",
    "#https://evil.test",
    "../../evil.test",
    "/..//evil.test",
    "/.evil.test",
    ".evil.test",
    "//0x7f000001",
    "//2130706433",
    "//[::1]",
    "//evil.test:443",
    "https://[::ffff:203.0.113.9]",
];
