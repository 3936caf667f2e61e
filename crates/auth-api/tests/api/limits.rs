use std::net::{Ipv4Addr, Ipv6Addr};

use futures::{StreamExt, stream};
use reqwest::{Method, Response, StatusCode};
use serde_json::json;

use crate::harness::{Changes, Limits, PASSWORD, TestApi, problem};

/// Counts in the process are exact however busy the machine is, while a Redis that is late is not waited for.
async fn limited() -> TestApi {
    TestApi::start_with(Changes { limits: Limits::InProcess, ..Changes::default() }).await
}

async fn post(api: &TestApi, path: &str, from: &str, body: &serde_json::Value) -> Response {
    api.request(Method::POST, path).header("x-forwarded-for", from).json(body).send().await.unwrap()
}

/// Tries an address that nobody tried before, so that only the client counts.
async fn login(api: &TestApi, from: &str) -> Response {
    let email = format!("{}@example.test", auth_ids::Uuid::now_v7());
    let body = json!({"email": email, "password": PASSWORD});
    post(api, "/v1/auth/login", from, &body).await
}

/// How many of the logins from `addresses` were not refused by a limit.
async fn let_through(api: &TestApi, addresses: impl Iterator<Item = String>) -> usize {
    let statuses = stream::iter(addresses)
        .map(|address| async move { login(api, &address).await.status() })
        .buffer_unordered(4);
    statuses.filter(|status| std::future::ready(*status != StatusCode::TOO_MANY_REQUESTS)).count().await
}

#[tokio::test(flavor = "multi_thread")]
async fn log_05_the_addresses_of_one_network_are_one_client() {
    let api = limited().await;
    let host = |site: u16, host: u16| Ipv6Addr::new(0x2001, 0xdb8, 1, site, 0, 0, 0, host).to_string();
    assert_eq!(let_through(&api, (0..1000).map(|number| host(7, number))).await, 10);
    assert_eq!(let_through(&api, (0..20).map(|number| host(8, number))).await, 10);
    // The whole /48 has ten times as much.
    assert_eq!(let_through(&api, (100..250).map(|site| host(site, 1))).await, 80);
    let elsewhere = login(&api, "2001:db8:2::1").await;
    problem(elsewhere, 401, "invalid_credentials").await;

    // An IPv4 address is the same however it is written; what is none is the proxy's own.
    let mapped = (0..20).map(|_| Ipv4Addr::new(203, 0, 113, 9).to_ipv6_mapped().to_string());
    assert_eq!(let_through(&api, mapped).await, 10);
    problem(login(&api, "203.0.113.9").await, 429, "rate_limited").await;
    problem(login(&api, "::ffff:cb00:7109").await, 429, "rate_limited").await;
    let zones = (0..20).map(|number| format!("fe80::{number:x}%eth{number}"));
    assert_eq!(let_through(&api, zones).await, 10);
    problem(login(&api, "127.0.0.1").await, 429, "rate_limited").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn reg_13_registrations_are_limited_by_address() {
    let api = limited().await;
    for number in 0..5 {
        let body = json!({"email": format!("someone{number}@example.test"), "password": PASSWORD});
        let answer = post(&api, "/v1/auth/register", "203.0.113.9", &body).await;
        assert_eq!(answer.status(), StatusCode::ACCEPTED);
        let told = answer.headers()["ratelimit"].to_str().unwrap();
        assert!(told.starts_with(&format!("\"register-ip-hour\";r={};t=", 4 - number)), "{told}");
        assert_eq!(answer.headers()["ratelimit-policy"], "\"register-ip-hour\";q=5;w=3600");
    }
    let one_more = json!({"email": "someone5@example.test", "password": PASSWORD});
    for _ in 0..3 {
        let refused = post(&api, "/v1/auth/register", "203.0.113.9", &one_more).await;
        let wait: u64 = refused.headers()["retry-after"].to_str().unwrap().parse().unwrap();
        assert!((1..=3960).contains(&wait), "{wait}");
        assert!(refused.headers()["ratelimit"].to_str().unwrap().starts_with("\"register-ip-hour\";r=0;t="));
        let told = problem(refused, 429, "rate_limited").await;
        assert_eq!(told["retryAfter"], wait);
    }
    let elsewhere = post(&api, "/v1/auth/register", "203.0.113.10", &one_more).await;
    assert_eq!(elsewhere.status(), StatusCode::ACCEPTED);

    assert!((2.5..3.5).contains(&api.metric("rate_limit_block_total")));
    let facts = api.facts("security.rate_limited").await;
    assert_eq!(facts.len(), 1, "{facts:?}");
    assert_eq!(facts[0]["data"]["detail"]["limit"], "register-ip-hour", "{}", facts[0]);
}

#[tokio::test(flavor = "multi_thread")]
async fn one_network_cannot_ask_for_any_number_of_mails() {
    let api = limited().await;
    let forgot = async |from: &str| {
        let body = json!({"email": "ada@example.test"});
        post(&api, "/v1/auth/forgot-password", from, &body).await
    };
    for host in 0..50 {
        assert_eq!(forgot(&format!("203.0.113.{host}")).await.status(), StatusCode::ACCEPTED);
    }
    problem(forgot("203.0.113.50").await, 429, "rate_limited").await;
    assert_eq!(forgot("203.0.114.50").await.status(), StatusCode::ACCEPTED);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_user_is_limited_and_other_users_are_not() {
    let api = limited().await;
    for (email, from) in [("ada@example.test", "203.0.113.1"), ("bob@example.test", "203.0.113.2")] {
        let body = json!({"email": email, "password": PASSWORD});
        assert_eq!(post(&api, "/v1/auth/register", from, &body).await.status(), StatusCode::ACCEPTED);
        let token = api.verification_token(email).await;
        let body = json!({"token": token, "newPassword": PASSWORD});
        assert_eq!(post(&api, "/v1/auth/verify-email", from, &body).await.status(), StatusCode::OK);
    }
    let (ada, bob) = (api.login_tokens("ada@example.test").await, api.login_tokens("bob@example.test").await);
    let list = |tokens: &serde_json::Value| {
        let request = api.get("/v1/auth/sessions").bearer_auth(tokens["accessToken"].as_str().unwrap());
        async move { request.send().await.unwrap() }
    };
    for _ in 0..300 {
        assert_eq!(list(&ada).await.status(), StatusCode::OK);
    }
    problem(list(&ada).await, 429, "rate_limited").await;
    assert_eq!(list(&bob).await.status(), StatusCode::OK);
}

#[tokio::test(flavor = "multi_thread")]
async fn limits_are_counted_in_redis() {
    let api = TestApi::start_with(Changes { limits: Limits::InRedis, ..Changes::default() }).await;
    let passed = let_through(&api, (0..40).map(|_| "203.0.113.9".to_owned())).await;
    // Around an outage a key may get up to twice its quota, and an answer of Redis that is late is one.
    assert!((10..=20).contains(&passed), "{passed}");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_no_registration_is_limited_before_its_password_is_judged() {
    let api = limited().await;
    let weak = json!({"email": "ada@example.test", "password": "password123"});
    let register = async || post(&api, "/v1/auth/register", "203.0.113.9", &weak).await.status();
    for _ in 0..60 {
        assert_eq!(register().await, StatusCode::UNPROCESSABLE_ENTITY);
    }
    assert_eq!(register().await, StatusCode::TOO_MANY_REQUESTS);
}

#[tokio::test(flavor = "multi_thread")]
async fn who_knows_the_id_of_a_session_keeps_nobody_from_refreshing() {
    let api = limited().await;
    let junk = json!({"refreshToken": format!("far_{}", "A".repeat(80))});
    let refresh = async |from: &str| post(&api, "/v1/auth/refresh", from, &junk).await.status();
    for _ in 0..60 {
        assert_eq!(refresh("203.0.113.9").await, StatusCode::UNAUTHORIZED);
    }
    assert_eq!(refresh("203.0.113.9").await, StatusCode::TOO_MANY_REQUESTS);
    assert_eq!(refresh("203.0.113.10").await, StatusCode::UNAUTHORIZED, "the owner's is another address");
}
