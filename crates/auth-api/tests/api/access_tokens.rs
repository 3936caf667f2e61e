//! What an access token opens, how sure auth-api is of its session, and what goes on while nobody can say.

use std::{
    collections::BTreeMap,
    time::{Duration, Instant},
};

use chrono::TimeDelta;
use reqwest::{Method, RequestBuilder, Response, StatusCode};
use serde_json::{Value, json};
use test_support::{Proxy, eventually};

use crate::{
    authenticator::{EMAIL, start, token},
    fake_tokens::{TokenKey, claims},
    harness::{Changes, Limits, PASSWORD, TestApi, body, problem},
    log_lines::LogLines,
    mail_links::NEW_PASSWORD,
};

const ME: &str = "/v1/auth/me";
const SESSIONS: &str = "/v1/auth/sessions";
const PATIENCE: Duration = Duration::from_secs(20);
/// How long an account is shown without being read again.
const CACHED_FOR: Duration = Duration::from_secs(2);
const SOME_ID: &str = "0198c8a5-5ad5-7c34-8a6f-2f5d3c1b0a99";

/// How sure a route is that the session is live.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Class {
    /// As sure as the stream of revocations makes it.
    Ordinary,
    /// It asks session-service each time.
    Online,
    /// It goes on with the signature while nobody can say.
    Unconfirmed,
    /// It ends the session that the token names, and wants to know nothing else.
    Logout,
}

/// Every operation that wants a token, its class, and a body that it understands. A new operation has to be entered here: what changes the account, its
/// credentials or its sessions, and what hands out a whole life, is online.
fn classes() -> Vec<(&'static str, &'static str, Class, Value)> {
    use Class::{Logout, Online, Ordinary, Unconfirmed};
    let proof = json!({"password": PASSWORD});
    vec![
        ("GET", ME, Unconfirmed, Value::Null),
        ("PATCH", ME, Ordinary, json!({})),
        ("GET", SESSIONS, Ordinary, Value::Null),
        ("GET", "/v1/auth/activity", Ordinary, Value::Null),
        ("POST", "/v1/auth/logout", Logout, Value::Null),
        ("DELETE", ME, Online, proof.clone()),
        ("POST", "/v1/auth/me/export", Online, proof.clone()),
        ("GET", "/v1/auth/me/export/{id}", Online, Value::Null),
        ("DELETE", SESSIONS, Online, Value::Null),
        ("DELETE", "/v1/auth/sessions/{id}", Online, Value::Null),
        ("POST", "/v1/auth/logout-all", Online, json!({})),
        ("POST", "/v1/auth/reauthenticate", Online, proof.clone()),
        (
            "POST",
            "/v1/auth/change-password",
            Online,
            json!({"currentPassword": PASSWORD, "newPassword": NEW_PASSWORD}),
        ),
        (
            "POST",
            "/v1/auth/change-email",
            Online,
            json!({"newEmail": "new@example.test", "password": PASSWORD}),
        ),
        ("GET", "/v1/auth/2fa", Online, Value::Null),
        ("POST", "/v1/auth/2fa/enable-init", Online, proof.clone()),
        ("POST", "/v1/auth/2fa/enable-complete", Online, json!({"challengeId": "x", "otp": "000000"})),
        ("POST", "/v1/auth/2fa/disable", Online, proof.clone()),
        ("POST", "/v1/auth/2fa/recovery-codes", Online, proof),
    ]
}

fn request(api: &TestApi, method: &str, path: &str, access: &str, body: &Value) -> RequestBuilder {
    let method = Method::from_bytes(method.as_bytes()).unwrap();
    let request = api.request(method, &path.replace("{id}", SOME_ID)).bearer_auth(access);
    if body.is_null() { request } else { request.json(body) }
}

async fn logged_in(api: &TestApi) -> String {
    api.verified_account(EMAIL).await;
    token(&api.login_tokens(EMAIL).await, "accessToken")
}

async fn me(api: &TestApi, access: &str) -> Response {
    api.get(ME).bearer_auth(access).send().await.unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn tok_12_a_token_is_read_from_the_authorization_header_only_and_never_logged() {
    let lines = LogLines::capture();
    let api = TestApi::start().await;
    let access = logged_in(&api).await;
    let query = format!("{ME}?access_token={access}");
    for request in [
        api.get(ME),
        api.get(&query),
        api.get(&format!("{ME}?token={access}&bearer={access}")),
        api.get(ME).header("cookie", format!("access={access}; access_token={access}")),
        api.get(ME).header("x-access-token", &access),
        api.get(ME).header("x-authorization", format!("Bearer {access}")),
        api.get(ME).header("proxy-authorization", format!("Bearer {access}")),
        api.get(ME).header("authorization", format!("Basic {access}")),
        api.get(ME).header("authorization", &access),
    ] {
        let answer = request.send().await.unwrap();
        assert_eq!(answer.headers()["www-authenticate"], "Bearer");
        problem(answer, 401, "missing_token").await;
    }
    for wrong in ["nonsense", "v4.public.AAAA", &"x".repeat(5_000), &format!("{access}x")] {
        let answer = me(&api, wrong).await;
        assert_eq!(answer.headers()["www-authenticate"], "Bearer error=\"invalid_token\"");
        problem(answer, 401, "invalid_token").await;
    }
    // A good one is not logged either, whatever else the address says.
    assert_eq!(api.get(&query).bearer_auth(&access).send().await.unwrap().status(), StatusCode::OK);
    let lines = lines.text();
    assert!(lines.contains("/v1/auth/me answered 200"), "the requests are logged");
    // The signature, which is the part that matters, is at its end but for the footer.
    let secret = &access[access.len() / 2..access.len() / 2 + 40];
    assert!(!lines.contains(secret), "the token is in the log");
}

#[tokio::test(flavor = "multi_thread")]
async fn every_operation_that_wants_a_token_has_a_class() {
    let api = TestApi::start().await;
    let document = body(api.get("/openapi.json").send().await.unwrap()).await;
    let mut protected = Vec::new();
    for (path, operations) in document["paths"].as_object().unwrap() {
        for (method, operation) in operations.as_object().unwrap() {
            if operation["security"].as_array().is_some_and(|schemes| !schemes.is_empty()) {
                protected.push(format!("{} {path}", method.to_uppercase()));
            }
        }
    }
    let mut classed: Vec<_> = classes().iter().map(|(method, path, ..)| format!("{method} {path}")).collect();
    protected.sort();
    classed.sort();
    assert_eq!(protected, classed);
}

/// The sessions have ended, and the stream has not told it yet.
#[tokio::test(flavor = "multi_thread")]
async fn what_protects_the_account_knows_at_once_that_a_session_has_ended() {
    let api = TestApi::start().await;
    let access = logged_in(&api).await;
    api.sessions.end_all_quietly();
    for (method, path, class, body) in classes() {
        let answer = request(&api, method, path, &access, &body).send().await.unwrap();
        match class {
            Class::Online => {
                problem(answer, 401, "invalid_token").await;
            }
            Class::Logout => assert_eq!(answer.status(), StatusCode::OK),
            Class::Ordinary | Class::Unconfirmed => {
                assert_ne!(answer.status(), StatusCode::UNAUTHORIZED, "{method} {path}");
            }
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_session_that_ended_elsewhere_is_refused_everywhere_once_the_stream_told_it() {
    let api = TestApi::start().await;
    let first = logged_in(&api).await;
    let second = token(&api.login_tokens(EMAIL).await, "accessToken");
    let ended = request(&api, "DELETE", SESSIONS, &first, &Value::Null).send().await.unwrap();
    assert_eq!(ended.status(), StatusCode::OK);
    let online = request(&api, "GET", "/v1/auth/2fa", &second, &Value::Null).send().await.unwrap();
    problem(online, 401, "invalid_token").await;
    api.until_refused(&second).await;
    for (method, path, class, body) in classes() {
        if class != Class::Logout {
            let answer = request(&api, method, path, &second, &body).send().await.unwrap();
            problem(answer, 401, "invalid_token").await;
        }
    }
    assert_eq!(me(&api, &first).await.status(), StatusCode::OK);
}

#[tokio::test(flavor = "multi_thread")]
async fn while_session_service_is_away_one_can_see_ones_account_and_nothing_else() {
    let api = TestApi::start().await;
    let access = logged_in(&api).await;
    assert_eq!(me(&api, &access).await.status(), StatusCode::OK);
    api.sessions.set_unavailable(true);
    eventually("the lease is over", PATIENCE, || async {
        assert_eq!(me(&api, &access).await.status(), StatusCode::OK);
        (!api.state.verifier.is_current()).then_some(())
    })
    .await;
    for (method, path, class, body) in classes() {
        let started = Instant::now();
        let answer = request(&api, method, path, &access, &body).send().await.unwrap();
        assert!(started.elapsed() < Duration::from_secs(1), "{method} {path}");
        if class == Class::Unconfirmed {
            assert_eq!(answer.status(), StatusCode::OK);
        } else {
            assert!(answer.headers().contains_key("retry-after"), "{method} {path}");
            problem(answer, 503, "unavailable").await;
        }
    }
    // Nothing but a good signature will do.
    problem(me(&api, "v4.public.x").await, 401, "invalid_token").await;
    let forged = TokenKey::generate().sign(&claims(api.state.clock.now(), TimeDelta::minutes(5)));
    problem(me(&api, &forged).await, 503, "unavailable").await;
    let keys = api.get("/.well-known/paserk.json").send().await.unwrap();
    assert_eq!(keys.status(), StatusCode::OK);

    api.sessions.set_unavailable(false);
    eventually("revocations are told again", PATIENCE, || async {
        api.state.verifier.is_current().then_some(())
    })
    .await;
    let listed = request(&api, "GET", SESSIONS, &access, &Value::Null).send().await.unwrap();
    assert_eq!(listed.status(), StatusCode::OK);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_access_token_ends_with_its_time_and_says_what_was_signed() {
    let (api, clock) = start().await;
    let access = logged_in(&api).await;
    for change in [
        (|claims| claims.exp = claims.iat) as fn(&mut access_tokens::AccessClaims),
        |claims| claims.aud = "others".to_owned(),
        |claims| claims.iss = "https://other.example".to_owned(),
        |claims| claims.typ = "refresh".to_owned(),
        |claims| claims.exp += TimeDelta::hours(1),
        |claims| claims.iat += TimeDelta::minutes(1),
    ] {
        problem(me(&api, &api.sessions.sign_changed(&access, change)).await, 401, "invalid_token").await;
    }
    clock.advance(TimeDelta::minutes(5));
    problem(me(&api, &access).await, 401, "invalid_token").await;
    assert_eq!(me(&api, &api.sessions.renewed(&access)).await.status(), StatusCode::OK);
}

#[tokio::test(flavor = "multi_thread")]
async fn warm_requests_ask_session_service_nothing() {
    let api = TestApi::start().await;
    let access = logged_in(&api).await;
    assert_eq!(me(&api, &access).await.status(), StatusCode::OK);
    let asked = api.sessions.validations();
    for _ in 0..20 {
        assert_eq!(me(&api, &access).await.status(), StatusCode::OK);
        let patched = request(&api, "PATCH", ME, &access, &json!({})).send().await.unwrap();
        assert_eq!(patched.status(), StatusCode::OK);
    }
    assert_eq!(api.sessions.validations(), asked);
    let status = request(&api, "GET", "/v1/auth/2fa", &access, &Value::Null).send().await.unwrap();
    assert_eq!(status.status(), StatusCode::OK);
    assert_eq!(api.sessions.validations(), asked + 1);
}

/// Whoever invents tokens, even ones whose key could be a new one, makes auth-api ask about a few of them only, and spoils it for nobody else.
#[tokio::test(flavor = "multi_thread")]
async fn tokens_that_nobody_signed_are_counted_by_address() {
    let api = TestApi::start_with(Changes { limits: Limits::InProcess, ..Changes::default() }).await;
    let access = logged_in(&api).await;
    let strange = TokenKey::generate().sign(&claims(api.state.clock.now(), TimeDelta::minutes(5)));
    let send = async |path: &str, token: &str, from: &str| {
        api.get(path).bearer_auth(token).header("x-forwarded-for", from).send().await.unwrap()
    };
    let asked = api.sessions.validations();
    let mut answers = BTreeMap::<u16, usize>::new();
    for number in 0..50 {
        for (path, token) in [(ME, strange.as_str()), ("/v1/auth/2fa", "v4.public.nonsense")] {
            let answer = send(path, token, &format!("2001:db8:1:2::{number:x}")).await;
            *answers.entry(answer.status().as_u16()).or_default() += 1;
        }
    }
    assert_eq!(answers, BTreeMap::from([(401, 60), (429, 40)]));
    assert_eq!(api.sessions.validations() - asked, 30);
    let refused = send(SESSIONS, &strange, "2001:db8:1:2::1").await;
    assert!(refused.headers()["ratelimit"].to_str().unwrap().starts_with("\"bad-token-ip\";r=0;"));
    problem(refused, 429, "rate_limited").await;
    assert_eq!(send(ME, &access, "2001:db8:1:2::1").await.status(), StatusCode::OK);
    problem(send(ME, &strange, "2001:db8:9::1").await, 401, "invalid_token").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn without_postgres_one_sees_ones_account_as_it_was() {
    let whole = TestApi::start().await;
    whole.verified_account(EMAIL).await;
    let mut postgres = Proxy::present(&whole.database.app_url()).await;
    let api = TestApi::start_with(Changes { database_url: Some(postgres.url()), ..Changes::default() }).await;
    let access = token(&api.login_tokens(EMAIL).await, "accessToken");
    let other = token(&api.login_tokens(EMAIL).await, "accessToken");
    let before = body(me(&api, &access).await).await;
    for _ in 0..2 {
        postgres.vanish().await;
        let vanished = Instant::now();
        while vanished.elapsed() < CACHED_FOR * 2 {
            let started = Instant::now();
            assert_eq!(body(me(&api, &access).await).await, before);
            assert!(started.elapsed() < Duration::from_secs(1));
        }
        let patch = request(&api, "PATCH", ME, &access, &json!({"displayName": "Ada"})).send().await.unwrap();
        problem(patch, 503, "unavailable").await;
        assert_eq!(body(me(&api, &access).await).await, before, "nothing was changed");
        postgres.appear().await;
        eventually("PostgreSQL is read again", PATIENCE, || async {
            let listed = request(&api, "PATCH", ME, &other, &json!({})).send().await.unwrap();
            (listed.status() == StatusCode::OK).then_some(())
        })
        .await;
        assert_eq!(body(me(&api, &access).await).await, before);
    }
}

/// A change that another replica made.
#[tokio::test(flavor = "multi_thread")]
async fn a_change_made_elsewhere_is_seen_within_seconds() {
    let api = TestApi::start().await;
    let access = logged_in(&api).await;
    assert_eq!(body(me(&api, &access).await).await["displayName"], Value::Null);
    api.execute("UPDATE auth.users SET display_name = 'Ada'").await;
    let changed = Instant::now();
    eventually("the change is seen", PATIENCE, || async {
        (body(me(&api, &access).await).await["displayName"] == "Ada").then_some(())
    })
    .await;
    assert!(changed.elapsed() < CACHED_FOR + Duration::from_secs(1), "{:?}", changed.elapsed());
    api.execute("DELETE FROM auth.users").await;
    eventually("the account is gone", PATIENCE, || async {
        (me(&api, &access).await.status() == StatusCode::UNAUTHORIZED).then_some(())
    })
    .await;
}
