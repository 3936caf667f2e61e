//! The captcha, as registrations meet it.

use std::{
    net::Ipv4Addr,
    process::{Command, Output},
    time::{Duration, Instant},
};

use auth_api::{
    clients::captcha::{OnUnavailable, TurnstileSettings},
    config::CaptchaConfig,
};
use dev_stack::turnstile::{
    ALWAYS_FAILS, ALWAYS_PASSES, FakeTurnstile, SITE_KEY_ALWAYS_PASSES, TOKEN_ALREADY_SPENT, TurnstileFault,
};
use reqwest::{Method, Response, StatusCode};
use serde_json::{Value, json};

use crate::harness::{Changes, Limits, PASSWORD, TestApi, problem};

/// Looks like a real one.
const SECRET: &str = "0x4AAAAAAADnPIDROrmt1Wwj";
const REQUEST_DEADLINE: Duration = Duration::from_secs(3);

async fn fake() -> FakeTurnstile {
    FakeTurnstile::start("127.0.0.1:0".parse().unwrap()).await.unwrap()
}

async fn api(turnstile: &FakeTurnstile, secret: &str) -> TestApi {
    api_that(turnstile, secret, OnUnavailable::Refuse, Limits::Off).await
}

async fn api_that(
    turnstile: &FakeTurnstile,
    secret: &str,
    on_unavailable: OnUnavailable,
    limits: Limits,
) -> TestApi {
    let settings = TurnstileSettings {
        verify_url: turnstile.url(),
        secret: secret.to_owned().into(),
        hostnames: vec!["app.example.test".to_owned(), "www.example.test".to_owned()],
        on_unavailable,
    };
    let captcha = CaptchaConfig::Turnstile { settings, site_key: "0x4AAAAAAADnPIDROrmt1Ww".to_owned() };
    TestApi::start_with(Changes { captcha: Some(captcha), limits, ..Changes::default() }).await
}

/// Registers with `token` from an address of its own, so that only the captcha decides.
async fn register(api: &TestApi, token: impl Into<Value>) -> Response {
    let [a, b, c] = clock::random_bytes(&mut clock::secure_rng());
    register_from(api, Ipv4Addr::new(11, a, b, c), token).await
}

async fn register_from(api: &TestApi, client: Ipv4Addr, token: impl Into<Value>) -> Response {
    let body = json!({"email": "ada@example.test", "password": PASSWORD, "captchaToken": token.into()});
    let request = api.request(Method::POST, "/v1/auth/register");
    request.header("x-forwarded-for", client.to_string()).json(&body).send().await.unwrap()
}

/// A new token of the widget on `hostname`.
fn token(action: &str, hostname: &str) -> String {
    format!("{action}@{hostname}:{:032x}", u128::from_le_bytes(clock::random_bytes(&mut clock::secure_rng())))
}

fn good_token() -> String {
    token("register", "app.example.test")
}

/// Accounts, and registrations that wait to become accounts.
async fn registrations(api: &TestApi) -> String {
    api.sql("SELECT (SELECT count(*) FROM auth.users) + (SELECT count(*) FROM auth.deferred_requests)").await
}

/// The metric `name`, of the series with the label value `label` where it has labels.
fn metric(api: &TestApi, name: &str, label: &str) -> f64 {
    let families = api.registry.gather();
    let family = families.iter().find(|family| family.name() == name).unwrap();
    let is_meant = |metric: &&prometheus::proto::Metric| {
        metric.get_label().is_empty() || metric.get_label().iter().any(|pair| pair.value() == label)
    };
    let series = family.get_metric().iter().filter(is_meant);
    series.map(|metric| metric.get_counter().get_value() + metric.get_gauge().get_value()).sum()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_solved_captcha_opens_the_door() {
    let turnstile = fake().await;
    let real = api(&turnstile, SECRET).await;
    let client = Ipv4Addr::new(203, 0, 113, 9);
    assert_eq!(register_from(&real, client, good_token()).await.status(), StatusCode::ACCEPTED);
    assert_eq!(turnstile.last_remote_ip().unwrap(), client.to_string());
    let elsewhere = token("register", "www.example.test");
    assert_eq!(register(&real, elsewhere).await.status(), StatusCode::ACCEPTED);
    assert!(metric(&real, "captcha_challenges_total", "passed") > 1.0);

    // Development: the test secret knows neither our host nor our actions.
    let development = api(&turnstile, ALWAYS_PASSES).await;
    for _ in 0..2 {
        assert_eq!(register(&development, "DUMMY_TOKEN_FOR_TEST").await.status(), StatusCode::ACCEPTED);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn cap_01_what_cannot_be_a_token_asks_nobody() {
    let turnstile = fake().await;
    let api = api(&turnstile, SECRET).await;
    for token in [Value::Null, "".into(), "  ".into()] {
        let refused = problem(register(&api, token).await, 400, "captcha_required").await;
        assert_eq!(refused["detail"], "Captcha required.");
        assert_eq!(refused["captchaRequired"], true);
    }
    let body = json!({"email": "ada@example.test", "password": PASSWORD});
    problem(api.post("/v1/auth/register", &body).await, 400, "captcha_required").await;
    for length in [2049, 3 * 1024] {
        problem(register(&api, "x".repeat(length)).await, 400, "captcha_invalid").await;
    }
    let good = good_token();
    for token in [format!("{good} "), format!("{good}\n"), format!("{good}\0"), format!("{good}é")] {
        problem(register(&api, token).await, 400, "captcha_invalid").await;
    }
    for token in [json!(7), json!(true), json!(["token"]), json!({"token": "token"})] {
        assert_eq!(register(&api, token).await.status(), StatusCode::BAD_REQUEST);
    }
    assert_eq!(turnstile.verifications(), 0);
    assert_eq!(registrations(&api).await, "0");

    let longest = format!("{:x<2048}", good_token());
    assert_eq!(register(&api, longest).await.status(), StatusCode::ACCEPTED);
}

#[tokio::test(flavor = "multi_thread")]
async fn cap_02_a_token_counts_once() {
    let turnstile = fake().await;
    let (one, other) = futures::join!(api(&turnstile, SECRET), api(&turnstile, SECRET));
    let token = good_token();
    assert_eq!(register(&one, token.as_str()).await.status(), StatusCode::ACCEPTED);
    for replica in [&one, &other] {
        problem(register(replica, token.as_str()).await, 400, "captcha_invalid").await;
    }
    let denied = one.facts("auth.captcha").await.remove(0);
    assert_eq!(denied["data"]["outcome"], "denied");
    assert_eq!(denied["data"]["reason"], "timeout-or-duplicate");
    assert_eq!(denied["data"]["detail"]["action"], "register");
    assert!(!denied.to_string().contains(&token));

    for _ in 0..5 {
        let token = good_token();
        let answers = futures::join!(register(&one, token.as_str()), register(&other, token.as_str()));
        let mut statuses = [answers.0.status().as_u16(), answers.1.status().as_u16()];
        statuses.sort_unstable();
        assert_eq!(statuses, [202, 400]);
    }

    for secret in [TOKEN_ALREADY_SPENT, ALWAYS_FAILS] {
        problem(register(&api(&turnstile, secret).await, "token").await, 400, "captcha_invalid").await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn cap_04_while_the_provider_is_away_nobody_registers_and_the_answer_comes_soon() {
    let turnstile = fake().await;
    let api = api(&turnstile, SECRET).await;
    let faults = [
        TurnstileFault::Stall,
        TurnstileFault::ServerError,
        TurnstileFault::Html,
        TurnstileFault::InvalidJson,
        TurnstileFault::InternalError,
    ];
    for (index, fault) in faults.into_iter().enumerate() {
        assert!(metric(&api, "captcha_provider_up", "") > 0.0);
        turnstile.set_fault(Some(fault));
        let started = Instant::now();
        let answer = register(&api, good_token()).await;
        assert!(started.elapsed() < REQUEST_DEADLINE, "{fault:?} took {:?}", started.elapsed());
        assert_eq!(answer.headers()["retry-after"], "2");
        problem(answer, 503, "captcha_unavailable").await;
        assert_eq!(turnstile.verifications(), 2 * (index + 1), "one repetition of {fault:?}");
    }

    // Five failures in a row: from now on nobody waits, and the provider is left alone.
    assert!(metric(&api, "captcha_provider_up", "") < 1.0);
    turnstile.set_fault(None);
    problem(register(&api, good_token()).await, 503, "captcha_unavailable").await;
    assert_eq!(turnstile.verifications(), 2 * faults.len());
    assert!(metric(&api, "captcha_challenges_total", "unavailable") > 5.0);
    problem(register(&api, "").await, 503, "captcha_unavailable").await;
    assert_eq!(registrations(&api).await, "0");
    assert!(api.facts("auth.captcha").await.is_empty(), "the clients did nothing wrong");
}

/// The operator's choice: a tenth of the registrations that an address may make otherwise go on.
#[tokio::test(flavor = "multi_thread")]
async fn cap_04_where_the_operator_wants_it_a_few_register_while_the_provider_is_away() {
    let turnstile = fake().await;
    let api = api_that(&turnstile, SECRET, OnUnavailable::Degrade, Limits::InProcess).await;
    turnstile.set_fault(Some(TurnstileFault::ServerError));
    let client = Ipv4Addr::new(203, 0, 113, 9);
    for _ in 0..2 {
        assert_eq!(register_from(&api, client, good_token()).await.status(), StatusCode::ACCEPTED);
    }
    problem(register_from(&api, client, good_token()).await, 503, "captcha_unavailable").await;
    assert_eq!(register(&api, good_token()).await.status(), StatusCode::ACCEPTED);
    problem(register(&api, "").await, 400, "captcha_required").await;
}

/// Logins go on while the provider is away, so nothing that a token can provoke may look like that.
#[tokio::test(flavor = "multi_thread")]
async fn cap_04_what_the_provider_cannot_judge_opens_no_login() {
    let turnstile = fake().await;
    let api = api(&turnstile, SECRET).await;
    for _ in 0..3 {
        problem(api.login("ada@example.test", PASSWORD).await, 401, "invalid_credentials").await;
    }
    let login = async || {
        let token = token("login", "app.example.test");
        let body = json!({"email": "ada@example.test", "password": PASSWORD, "captchaToken": token});
        api.post("/v1/auth/login", &body).await
    };
    turnstile.set_fault(Some(TurnstileFault::BadRequest));
    for _ in 0..6 {
        problem(login().await, 400, "captcha_invalid").await;
    }
    assert!(metric(&api, "captcha_provider_up", "") > 0.0, "no token opens the breaker");
    problem(register(&api, good_token()).await, 503, "captcha_unavailable").await;

    turnstile.set_fault(Some(TurnstileFault::Stall));
    let started = Instant::now();
    problem(login().await, 401, "invalid_credentials").await;
    let took = started.elapsed();
    assert!(took < Duration::from_millis(2_300), "a hash is still to come after {took:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn log_02_who_has_to_wait_solves_no_captcha_for_it() {
    let turnstile = fake().await;
    let api = api(&turnstile, SECRET).await;
    let login = async |solved: bool| {
        let token = if solved { token("login", "app.example.test") } else { String::new() };
        let body = json!({"email": "ada@example.test", "password": PASSWORD, "captchaToken": token});
        api.post("/v1/auth/login", &body).await
    };
    for failures in 0..5 {
        problem(login(failures >= 3).await, 401, "invalid_credentials").await;
    }
    for solved in [false, true] {
        let refused = login(solved).await;
        assert!(refused.headers().contains_key("retry-after"));
        problem(refused, 429, "too_many_attempts").await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn cap_04_a_repetition_has_the_same_key() {
    let turnstile = fake().await;
    let api = api(&turnstile, SECRET).await;
    // The first attempt spends the token: with another key the second would be a duplicate.
    turnstile.set_fault(Some(TurnstileFault::InternalErrorOnce));
    assert_eq!(register(&api, good_token()).await.status(), StatusCode::ACCEPTED);
    assert_eq!(turnstile.verifications(), 2);
}

#[tokio::test(flavor = "multi_thread")]
async fn cap_04_a_secret_of_ours_that_is_refused_is_not_the_clients_fault() {
    let turnstile = fake().await;
    let api = api(&turnstile, "mistyped").await;
    problem(register(&api, good_token()).await, 503, "captcha_unavailable").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn cap_05_a_captcha_solved_elsewhere_or_for_something_else_is_refused() {
    let turnstile = fake().await;
    let api = api(&turnstile, SECRET).await;
    let cases = [
        (token("register", "evil.example"), "hostname-mismatch"),
        (token("register", "app.example.test.evil.example"), "hostname-mismatch"),
        (token("register", "example.test"), "hostname-mismatch"),
        (token("register", ""), "hostname-mismatch"),
        (token("login", "app.example.test"), "action-mismatch"),
        (token("Register", "app.example.test"), "action-mismatch"),
        (token("", "app.example.test"), "action-mismatch"),
    ];
    for (token, why) in &cases {
        problem(register(&api, token.as_str()).await, 400, "captcha_invalid").await;
        assert_eq!(api.facts("auth.captcha").await.last().unwrap()["data"]["reason"], *why);
    }
    assert_eq!(registrations(&api).await, "0");
    assert!(metric(&api, "captcha_provider_up", "") > 0.0, "the provider answered");
}

#[tokio::test(flavor = "multi_thread")]
async fn cap_06_the_dummy_token_is_refused_by_the_provider() {
    let turnstile = fake().await;
    let api = api(&turnstile, SECRET).await;
    for token in ["XXXX.DUMMY.TOKEN.XXXX", "DUMMY_TOKEN_FOR_TEST"] {
        problem(register(&api, token).await, 400, "captcha_invalid").await;
    }
    assert_eq!(turnstile.verifications(), 2, "nothing is decided here");
}

/// What auth-api says when it starts in production with nothing but `variables`.
fn complaints(variables: &[(&str, &str)]) -> String {
    let output: Output = Command::new(env!("CARGO_BIN_EXE_auth-api"))
        .arg("serve")
        .env_clear()
        .envs(variables.iter().copied())
        .output()
        .unwrap();
    assert_eq!(output.status.code(), Some(78), "{output:?}");
    String::from_utf8(output.stderr).unwrap()
}

#[test]
fn cap_06_production_refuses_what_accepts_everything() {
    let good = [("TURNSTILE_SECRET", SECRET), ("TURNSTILE_SITE_KEY", "0x4AAAAAAADnPIDROrmt1Ww")];
    let text = complaints(&good);
    assert!(!text.contains("TURNSTILE") && !text.contains("CAPTCHA"), "{text}");

    for secret in [ALWAYS_PASSES, ALWAYS_FAILS, TOKEN_ALREADY_SPENT, "1x0000000000000000000000AA"] {
        let text = complaints(&[("TURNSTILE_SECRET", secret), good[1]]);
        assert!(text.contains("TURNSTILE_SECRET is one of the test secrets"), "{text}");
        assert!(!text.contains(secret), "a secret is not repeated: {text}");
    }
    let text = complaints(&[good[0], ("TURNSTILE_SITE_KEY", SITE_KEY_ALWAYS_PASSES)]);
    assert!(text.contains("TURNSTILE_SITE_KEY is one of the test keys"), "{text}");

    assert!(complaints(&[("CAPTCHA", "off")]).contains("CAPTCHA is off"));
    let meant = complaints(&[("CAPTCHA", "off"), ("CAPTCHA_OFF_IN_PRODUCTION", "true")]);
    assert!(!meant.contains("CAPTCHA"), "{meant}");
    for nonsense in
        [("CAPTCHA", "maybe"), ("CAPTCHA_UNAVAILABLE", "open"), ("TURNSTILE_HOSTNAMES", "https://a")]
    {
        let text = complaints(&[good[0], good[1], nonsense]);
        assert!(text.contains(nonsense.0), "{text}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn cap_08_the_secret_goes_to_one_host_and_the_answer_is_short() {
    let turnstile = fake().await;
    let api = api(&turnstile, SECRET).await;
    for fault in [TurnstileFault::Redirect, TurnstileFault::Oversized] {
        turnstile.set_fault(Some(fault));
        problem(register(&api, good_token()).await, 503, "captcha_unavailable").await;
    }
    assert_eq!(registrations(&api).await, "0");
}

#[test]
fn cap_08_production_asks_only_the_allowed_host() {
    let complaints_about = |url: &str, host: Option<&str>| {
        let mut variables = vec![
            ("TURNSTILE_SECRET", SECRET),
            ("TURNSTILE_SITE_KEY", "0x4AAAAAAADnPIDROrmt1Ww"),
            ("TURNSTILE_VERIFY_URL", url),
        ];
        variables.extend(host.map(|host| ("TURNSTILE_VERIFY_HOST", host)));
        complaints(&variables)
    };
    for url in [
        "http://challenges.cloudflare.com/turnstile/v0/siteverify",
        "https://challenges.cloudflare.com.evil.example/siteverify",
        "https://challenges.cloudflare.com@evil.example/siteverify",
        "https://169.254.169.254/latest/meta-data",
        "https://localhost/siteverify",
        "file:///etc/passwd",
    ] {
        let text = complaints_about(url, None);
        assert!(text.contains("TURNSTILE_VERIFY_URL"), "{url} is accepted: {text}");
    }
    let url = "https://captcha-proxy.example/siteverify";
    assert!(complaints_about(url, None).contains("TURNSTILE_VERIFY_URL"));
    assert!(!complaints_about(url, Some("captcha-proxy.example")).contains("TURNSTILE_VERIFY"));
}
