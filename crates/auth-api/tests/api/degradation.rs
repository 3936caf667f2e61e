//! What still works while something that auth-api depends on is away, and how soon it says that something does not.

use std::{
    net::TcpListener,
    time::{Duration, Instant},
};

use auth_api::{
    clients::captcha::{OnUnavailable, TurnstileSettings},
    config::CaptchaConfig,
};
use chrono::TimeDelta;
use dev_stack::turnstile::{FakeTurnstile, TurnstileFault};
use futures::future::join_all;
use reqwest::{Method, RequestBuilder, Response, StatusCode};
use serde_json::{Value, json};
use test_support::{Proxy, eventually, redis_url};

use crate::{
    authenticator::{anywhere, token},
    fake_tokens::{TokenKey, claims},
    harness::{Changes, Limits, PASSWORD, TestApi, body, problem},
    mail_links::{FORGOT, SECURE},
};

const EMAIL: &str = "ada@example.test";
const REGISTER: &str = "/v1/auth/register";
const LOGIN: &str = "/v1/auth/login";
const REFRESH: &str = "/v1/auth/refresh";
const LOGOUT: &str = "/v1/auth/logout";
const REQUEST_DEADLINE: Duration = Duration::from_secs(3);
/// How long it may take until something that is away, or back, is noticed on a busy machine.
const NOTICED_WITHIN: Duration = Duration::from_secs(20);
/// How long a decision waits for Redis.
const REDIS_DEADLINE: Duration = Duration::from_millis(100);

/// Sends a request and says how long its answer took; it was never an error of ours.
async fn timed(request: RequestBuilder) -> (Response, Duration) {
    let started = Instant::now();
    let answer = request.send().await.unwrap();
    let took = started.elapsed();
    assert_ne!(answer.status(), StatusCode::INTERNAL_SERVER_ERROR);
    assert!(took < REQUEST_DEADLINE + Duration::from_millis(500), "{} took {took:?}", answer.url());
    (answer, took)
}

async fn answer_to(api: &TestApi, path: &str, request: &Value) -> Response {
    timed(anywhere(api, path).json(request)).await.0
}

fn registration(email: &str) -> Value {
    json!({"email": email, "password": PASSWORD})
}

fn me(api: &TestApi, access_token: &str) -> RequestBuilder {
    api.get("/v1/auth/me").bearer_auth(access_token)
}

/// Everything that a user does on a usual day. Nothing of it may be refused. The access token at its end.
async fn a_usual_day(api: &TestApi, email: &str) -> String {
    let registered = answer_to(api, REGISTER, &registration(email)).await;
    assert_eq!(registered.status(), StatusCode::ACCEPTED);
    let handle = token(&body(registered).await, "registrationHandle");
    let link = api.verification_token(email).await;
    let proof = json!({"token": link, "registrationHandle": handle});
    assert_eq!(answer_to(api, "/v1/auth/verify-email", &proof).await.status(), StatusCode::OK);
    let login = answer_to(api, LOGIN, &registration(email)).await;
    assert_eq!(login.status(), StatusCode::OK);
    let refresh = json!({"refreshToken": token(&body(login).await, "refreshToken")});
    let refreshed = answer_to(api, REFRESH, &refresh).await;
    assert_eq!(refreshed.status(), StatusCode::OK);
    let access = token(&body(refreshed).await, "accessToken");
    assert_eq!(timed(me(api, &access)).await.0.status(), StatusCode::OK);
    assert_eq!(answer_to(api, FORGOT, &json!({"email": email})).await.status(), StatusCode::ACCEPTED);
    access
}

/// Of fifteen logins from one address ten are let through.
async fn limits_hold(api: &TestApi, from: &str) {
    let mut let_through = 0;
    for _ in 0..15 {
        let email = format!("{}@example.test", auth_ids::Uuid::now_v7());
        let login =
            api.request(Method::POST, LOGIN).header("x-forwarded-for", from).json(&registration(&email));
        let (answer, _) = timed(login).await;
        if answer.status() == StatusCode::UNAUTHORIZED {
            let_through += 1;
        } else {
            problem(answer, 429, "rate_limited").await;
        }
    }
    assert_eq!(let_through, 10);
}

/// Each look is a request, since nothing is tried without one.
async fn until_degraded_is(api: &TestApi, expected: bool) {
    eventually("the state of Redis to be noticed", NOTICED_WITHIN, async || {
        problem(answer_to(api, REFRESH, &json!({"refreshToken": "far_x"})).await, 401, "invalid_token").await;
        (is_degraded(api) == expected).then_some(())
    })
    .await;
}

fn is_degraded(api: &TestApi) -> bool {
    api.metric("rate_limit_degraded") > 0.5
}

/// The duration that one of twenty requests exceeds.
async fn p95(api: &TestApi, access_token: &str) -> Duration {
    let mut durations = Vec::new();
    for _ in 0..80 {
        // A route whose limit is counted.
        let (answer, took) = timed(api.get("/v1/auth/sessions").bearer_auth(access_token)).await;
        assert_eq!(answer.status(), StatusCode::OK);
        durations.push(took);
    }
    durations.sort_unstable();
    durations[durations.len() * 95 / 100]
}

#[tokio::test(flavor = "multi_thread")]
async fn without_redis_from_the_start_everything_works_and_is_limited() {
    let mut redis = Proxy::absent(&redis_url()).await;
    let limits = Limits::InRedisAt(redis.url());
    let api = TestApi::start_with(Changes { limits, ..Changes::default() }).await;
    a_usual_day(&api, EMAIL).await;
    assert!(is_degraded(&api));
    limits_hold(&api, "203.0.113.1").await;
    redis.appear().await;
    until_degraded_is(&api, false).await;
    a_usual_day(&api, "bob@example.test").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_redis_that_goes_away_is_neither_missed_nor_waited_for() {
    let mut redis = Proxy::present(&redis_url()).await;
    let limits = Limits::InRedisAt(redis.url());
    let api = TestApi::start_with(Changes { limits, ..Changes::default() }).await;
    let access = a_usual_day(&api, EMAIL).await;
    until_degraded_is(&api, false).await;
    let usual = p95(&api, &access).await;

    redis.vanish().await;
    a_usual_day(&api, "bob@example.test").await;
    assert!(is_degraded(&api));
    limits_hold(&api, "203.0.113.1").await;
    redis.appear().await;
    until_degraded_is(&api, false).await;

    // It accepts connections, and says nothing.
    redis.fall_silent();
    until_degraded_is(&api, true).await;
    let access = a_usual_day(&api, "eve@example.test").await;
    let silent = p95(&api, &access).await;
    assert!(silent < usual + REDIS_DEADLINE, "{silent:?} instead of {usual:?}");
    limits_hold(&api, "203.0.113.2").await;
    redis.talk_again();
    until_degraded_is(&api, false).await;
    a_usual_day(&api, "mallory@example.test").await;
}

async fn with_captcha(turnstile: &FakeTurnstile) -> TestApi {
    let settings = TurnstileSettings {
        verify_url: turnstile.url(),
        secret: "0x4AAAAAAADnPIDROrmt1Wwj".to_owned().into(),
        hostnames: vec!["app.example.test".to_owned()],
        on_unavailable: OnUnavailable::Refuse,
    };
    let captcha = CaptchaConfig::Turnstile { settings, site_key: "0x4AAAAAAADnPIDROrmt1Ww".to_owned() };
    TestApi::start_with(Changes { captcha: Some(captcha), ..Changes::default() }).await
}

fn solved(action: &str) -> String {
    format!("{action}@app.example.test:{}", auth_ids::Uuid::now_v7().simple())
}

/// An account of whoever solved a captcha.
async fn verified_account(api: &TestApi) {
    let mut request = registration(EMAIL);
    request["captchaToken"] = solved("register").into();
    let registered = body(answer_to(api, REGISTER, &request).await).await;
    let proof = json!({
        "token": api.verification_token(EMAIL).await,
        "registrationHandle": token(&registered, "registrationHandle"),
    });
    assert_eq!(answer_to(api, "/v1/auth/verify-email", &proof).await.status(), StatusCode::OK);
}

#[tokio::test(flavor = "multi_thread")]
async fn cap_04_while_the_captcha_provider_is_away_logins_go_on_with_delays_only() {
    let turnstile = FakeTurnstile::start("127.0.0.1:0".parse().unwrap()).await.unwrap();
    let api = with_captcha(&turnstile).await;
    verified_account(&api).await;

    turnstile.set_fault(Some(TurnstileFault::Stall));
    for (path, mut request, action) in [
        (REGISTER, registration("bob@example.test"), "register"),
        (FORGOT, json!({"email": EMAIL}), "forgot"),
    ] {
        request["captchaToken"] = solved(action).into();
        let (answer, took) = timed(anywhere(&api, path).json(&request)).await;
        assert!(took < REQUEST_DEADLINE, "{path} took {took:?}");
        assert_eq!(answer.headers()["retry-after"], "2");
        problem(answer, 503, "captcha_unavailable").await;
    }
    api.login_tokens(EMAIL).await;

    turnstile.set_fault(Some(TurnstileFault::ServerError));
    let login = async |password: &str, captcha: Option<String>| {
        let request = json!({"email": EMAIL, "password": password, "captchaToken": captcha});
        answer_to(&api, LOGIN, &request).await
    };
    for _ in 0..3 {
        problem(login("not the right password", None).await, 401, "invalid_credentials").await;
    }
    // As far as anybody knows the provider is there.
    problem(login(PASSWORD, None).await, 400, "captcha_required").await;
    assert_eq!(login(PASSWORD, Some(solved("login"))).await.status(), StatusCode::OK);

    // Once it is known to be away, those whose page could not show its widget log in too.
    for _ in 0..3 {
        problem(login("not the right password", None).await, 401, "invalid_credentials").await;
    }
    eventually("the provider is known to be away", NOTICED_WITHIN, async || {
        let request = json!({"email": EMAIL, "captchaToken": solved("forgot")});
        problem(answer_to(&api, FORGOT, &request).await, 503, "captcha_unavailable").await;
        (api.metric("captcha_provider_up") < 0.5).then_some(())
    })
    .await;
    assert_eq!(login(PASSWORD, None).await.status(), StatusCode::OK);

    // And the delays stay.
    for _ in 0..5 {
        problem(login("not the right password", None).await, 401, "invalid_credentials").await;
    }
    problem(login(PASSWORD, None).await, 429, "too_many_attempts").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn cap_04_a_provider_whose_widget_no_page_can_show_keeps_nobody_out() {
    let turnstile = FakeTurnstile::start("127.0.0.1:0".parse().unwrap()).await.unwrap();
    let api = with_captcha(&turnstile).await;
    verified_account(&api).await;
    turnstile.set_fault(Some(TurnstileFault::ServerError));
    for _ in 0..3 {
        problem(api.login(EMAIL, "not the right password").await, 401, "invalid_credentials").await;
    }
    // Nobody has a token, so nobody's token tells that there is nobody to check it.
    problem(api.login(EMAIL, PASSWORD).await, 400, "captcha_required").await;
    eventually("a login without a token", NOTICED_WITHIN, async || {
        (api.login(EMAIL, PASSWORD).await.status() == StatusCode::OK).then_some(())
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn without_session_service_accounts_go_on_and_sessions_wait() {
    // Somebody answers the call, and nobody says anything.
    let mute = TcpListener::bind("127.0.0.1:0").unwrap();
    for nobody in ["127.0.0.1:1".parse().unwrap(), mute.local_addr().unwrap()] {
        let changes = Changes { session_service: Some(nobody), ..Changes::default() };
        let api = TestApi::start_with(changes).await;
        api.verified_account(EMAIL).await;
        // Nobody has told which keys are good.
        let unknown = TokenKey::generate().sign(&claims(api.state.clock.now(), TimeDelta::minutes(5)));
        let requests = [
            anywhere(&api, LOGIN).json(&registration(EMAIL)),
            anywhere(&api, REFRESH).json(&json!({"refreshToken": "far_x"})),
            anywhere(&api, LOGOUT).json(&json!({"refreshToken": "far_x"})),
            me(&api, &unknown),
            anywhere(&api, "/v1/auth/logout-all").bearer_auth(&unknown),
            api.get("/.well-known/paserk.json"),
        ];
        for request in requests {
            let (answer, took) = timed(request).await;
            // One repetition where that is harmless, each within 800 ms.
            assert!(took < Duration::from_millis(2_200), "{} took {took:?}", answer.url());
            assert_eq!(answer.headers()["retry-after"], "2");
            problem(answer, 503, "unavailable").await;
        }
        problem(api.login(EMAIL, "not the right password").await, 401, "invalid_credentials").await;
        let forgot = answer_to(&api, FORGOT, &json!({"email": EMAIL})).await;
        assert_eq!(forgot.status(), StatusCode::ACCEPTED);
        problem(answer_to(&api, SECURE, &json!({"token": "fat_x"})).await, 400, "token_invalid").await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn without_postgres_answers_are_quick_and_honest() {
    let url = "postgres://nobody:nothing@127.0.0.1:1/none".to_owned().into();
    let api = TestApi::start_with(Changes { database_url: Some(url), ..Changes::default() }).await;
    nothing_is_written(&api, Duration::from_secs(1)).await;
}

/// Every request that would change something is refused within `deadline`.
async fn nothing_is_written(api: &TestApi, deadline: Duration) {
    let good_looking = format!("fat_{:A<43}", "");
    let requests = [
        (REGISTER, registration(EMAIL)),
        (LOGIN, registration(EMAIL)),
        (FORGOT, json!({"email": EMAIL})),
        ("/v1/auth/resend-verification", json!({"email": EMAIL})),
        ("/v1/auth/verify-email", json!({"token": good_looking})),
        ("/v1/auth/reset-password", json!({"token": good_looking, "newPassword": PASSWORD})),
        ("/v1/auth/change-email/confirm", json!({"token": good_looking})),
        ("/v1/auth/change-email/undo", json!({"token": good_looking})),
        (SECURE, json!({"token": good_looking})),
        ("/v1/auth/me/restore", json!({"token": good_looking})),
    ];
    let send = |(path, request): (&'static str, Value)| async move {
        let (answer, took) = timed(anywhere(api, path).json(&request)).await;
        assert!(took < deadline, "{path} took {took:?}");
        assert!(answer.headers().contains_key("retry-after"), "{path}");
        assert_eq!(answer.status(), StatusCode::SERVICE_UNAVAILABLE, "{path}");
    };
    join_all(requests.map(send)).await;
    assert_eq!(api.get("/health").send().await.unwrap().status(), StatusCode::OK);
    assert_eq!(api.get("/ready").send().await.unwrap().status(), StatusCode::SERVICE_UNAVAILABLE);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_postgres_that_goes_away_is_used_again_once_it_is_back() {
    let whole = TestApi::start().await;
    whole.verified_account(EMAIL).await;
    let mut postgres = Proxy::present(&whole.database.app_url()).await;
    let api = TestApi::start_with(Changes { database_url: Some(postgres.url()), ..Changes::default() }).await;
    api.login_tokens(EMAIL).await;

    postgres.vanish().await;
    nothing_is_written(&api, Duration::from_secs(1)).await;
    postgres.appear().await;
    until_login_works(&api).await;

    // Connections stay, and nobody answers on them: only the deadlines tell.
    postgres.fall_silent();
    nothing_is_written(&api, REQUEST_DEADLINE + Duration::from_millis(200)).await;
    postgres.talk_again();
    until_login_works(&api).await;
}

async fn until_login_works(api: &TestApi) {
    eventually("PostgreSQL is used again", NOTICED_WITHIN, async || {
        let answer = answer_to(api, LOGIN, &registration(EMAIL)).await;
        (answer.status() == StatusCode::OK).then_some(())
    })
    .await;
}
