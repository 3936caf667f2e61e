//! Guessing at passwords: what it gets, what it costs, and that it locks nobody out.

use std::{sync::Arc, time::Duration};

use auth_api::app::maintenance::maintain_once;
use auth_events::commands::MailTemplate;
use chrono::TimeDelta;
use clock::{Clock, ManualClock, SystemClock};
use diesel_async::SimpleAsyncConnection;
use reqwest::{Response, StatusCode, header};
use serde_json::{Value, json};
use test_support::eventually;

use crate::harness::{Changes, PASSWORD, TestApi, body, problem};

const EMAIL: &str = "ada@example.test";
const WRONG: &str = "not the right password";

async fn with_clock() -> (TestApi, Arc<ManualClock>) {
    let clock = Arc::new(ManualClock::new(SystemClock.now()));
    let api = TestApi::start_with(Changes { clock: Some(clock.clone()), ..Changes::default() }).await;
    api.verified_account(EMAIL).await;
    (api, clock)
}

fn hashes(api: &TestApi) -> u32 {
    let count = api.metric("password_hash_seconds");
    (0..=u32::MAX).find(|whole| f64::from(*whole) + 0.5 > count).unwrap()
}

/// A login from the browser that has the cookie `device`.
async fn login_from(api: &TestApi, device: &str, password: &str) -> Response {
    let request = api.request(reqwest::Method::POST, "/v1/auth/login").header(header::COOKIE, device);
    request.json(&json!({"email": EMAIL, "password": password})).send().await.unwrap()
}

/// What a browser keeps of a login.
fn device_cookie(answer: &Response) -> String {
    let cookies = answer.headers().get_all(header::SET_COOKIE).iter();
    let device = cookies.filter_map(|cookie| cookie.to_str().unwrap().split(';').next());
    device.into_iter().find(|cookie| cookie.starts_with("__Host-device=")).unwrap().to_owned()
}

#[tokio::test(flavor = "multi_thread")]
async fn log_02_five_failures_then_ever_longer_pauses_and_an_end() {
    let (api, clock) = with_clock().await;
    let mut pauses = Vec::new();
    let before = hashes(&api);
    for _ in 0..100 {
        let answer = api.login(EMAIL, WRONG).await;
        if answer.status() == StatusCode::UNAUTHORIZED {
            continue;
        }
        let refused = problem(answer, 429, "too_many_attempts").await;
        let wait = refused["retryAfter"].as_i64().unwrap();
        pauses.push(wait);
        // The right password waits as well: otherwise guessing would go on.
        problem(api.login(EMAIL, PASSWORD).await, 429, "too_many_attempts").await;
        clock.advance(TimeDelta::seconds(wait));
        if hashes(&api) - before == 12 {
            break;
        }
        problem(api.login(EMAIL, WRONG).await, 401, "invalid_credentials").await;
    }
    let rounded: Vec<i64> = pauses.iter().map(|pause| pause / 10 * 10).collect();
    assert_eq!(rounded, [30, 60, 120, 240, 480, 900, 900, 900]);
    assert_eq!(hashes(&api) - before, 12, "only what was judged was hashed");

    // A hundred failures in a row: the right password opens nothing before a reset.
    api.execute("UPDATE auth.attempts SET consecutive = 99, blocked_until = NULL").await;
    problem(api.login(EMAIL, WRONG).await, 401, "invalid_credentials").await;
    assert!(api.mail_to(EMAIL, MailTemplate::AccountLocked).await.is_some(), "the owner hears of it");
    clock.advance(TimeDelta::hours(1));
    problem(api.login(EMAIL, PASSWORD).await, 401, "invalid_credentials").await;
    assert_eq!(api.sessions.live(), 0);
    let locks = api.facts("security.account_locked").await;
    assert_eq!(locks.len(), 2, "the first pause and the end: {locks:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn log_07_two_hundred_guesses_at_once_are_judged_no_more_often_than_allowed() {
    let api = TestApi::start().await;
    api.verified_account(EMAIL).await;
    let device = device_cookie(&api.login(EMAIL, PASSWORD).await);
    let before = hashes(&api);
    let statuses = guess_at_once(&api).await;
    assert_eq!(hashes(&api) - before, 5, "{statuses:?}");
    assert_eq!(statuses.iter().filter(|status| **status == 401).count(), 5);
    // Who finds the queue before the hashing full is told to come again.
    assert!(statuses.iter().all(|status| [401, 429, 503].contains(status)), "{statuses:?}");

    problem(api.login(EMAIL, PASSWORD).await, 429, "too_many_attempts").await;
    assert_eq!(login_from(&api, &device, PASSWORD).await.status(), StatusCode::OK, "the owner's browser");

    // And with one attempt left.
    api.execute("UPDATE auth.attempts SET consecutive = 4, blocked_until = NULL").await;
    let before = hashes(&api);
    guess_at_once(&api).await;
    assert_eq!(hashes(&api) - before, 1);
}

async fn guess_at_once(api: &TestApi) -> Vec<u16> {
    let guesses = (0..200).map(|index| {
        // Every spelling of the address is the same account.
        let email = if index % 2 == 0 { EMAIL } else { "ADA@Example.test" };
        async move { api.login(email, WRONG).await.status().as_u16() }
    });
    futures::future::join_all(guesses).await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_known_browser_has_a_budget_of_its_own_and_no_more() {
    let (api, clock) = with_clock().await;
    let device = device_cookie(&api.login(EMAIL, PASSWORD).await);
    for _ in 0..10 {
        problem(login_from(&api, &device, WRONG).await, 401, "invalid_credentials").await;
    }
    // What the browser used up does not burden the account; from here on it is like any other browser.
    for _ in 0..5 {
        problem(login_from(&api, &device, WRONG).await, 401, "invalid_credentials").await;
    }
    problem(login_from(&api, &device, PASSWORD).await, 429, "too_many_attempts").await;
    clock.advance(TimeDelta::minutes(61));
    assert_eq!(login_from(&api, &device, PASSWORD).await.status(), StatusCode::OK);

    // Beside another address the cookie means nothing.
    api.execute("DELETE FROM auth.attempts").await;
    api.verified_account("eve@example.test").await;
    let foreign = device_cookie(&api.login("eve@example.test", PASSWORD).await);
    for _ in 0..5 {
        problem(login_from(&api, &foreign, WRONG).await, 401, "invalid_credentials").await;
    }
    problem(login_from(&api, &foreign, PASSWORD).await, 429, "too_many_attempts").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn log_09_nothing_but_a_success_at_the_account_resets_its_counter() {
    let api = TestApi::start().await;
    api.verified_account(EMAIL).await;
    api.verified_account("eve@example.test").await;
    let tokens = api.login_tokens(EMAIL).await;
    let bearer = format!("Bearer {}", tokens["accessToken"].as_str().unwrap());
    let guess = async |email: &str, password: &str| api.login(email, password).await.status().as_u16();
    assert_eq!(guess(EMAIL, WRONG).await, 401);
    assert_eq!(guess("Ada@EXAMPLE.test", WRONG).await, 401);
    assert_eq!(guess("eve@example.test", PASSWORD).await, 200, "somebody else's success");
    // Other places that compare the password count against the same limit.
    for path in ["/v1/auth/reauthenticate", "/v1/auth/change-password"] {
        let request = json!({"password": WRONG});
        let change = json!({"currentPassword": WRONG, "newPassword": "a quite different password"});
        let sent = if path.ends_with("change-password") { change } else { request };
        let answer = api.request(reqwest::Method::POST, path).header("authorization", &bearer);
        problem(answer.json(&sent).send().await.unwrap(), 401, "invalid_credentials").await;
    }
    assert_eq!(guess(EMAIL, WRONG).await, 401);
    assert_eq!(guess(EMAIL, PASSWORD).await, 429, "five failures, wherever they were");
}

#[tokio::test(flavor = "multi_thread")]
async fn log_11_fifty_good_logins_at_once_are_fifty_sessions() {
    let api = TestApi::start().await;
    api.verified_account(EMAIL).await;
    let logins = futures::future::join_all((0..50).map(|_| login_until_served(&api))).await;
    assert!(logins.iter().all(|login| login.status() == StatusCode::OK), "{logins:?}");
    let mut sessions = std::collections::BTreeSet::new();
    for login in logins {
        sessions.insert(body(login).await["refreshToken"].as_str().unwrap().to_owned());
    }
    assert_eq!(sessions.len(), 50);
    assert_eq!(api.facts("auth.login").await.len(), 50);
}

/// A busy machine may answer 503 at first.
async fn login_until_served(api: &TestApi) -> Response {
    eventually("the login is served", Duration::from_secs(20), || async {
        let answer = api.login(EMAIL, PASSWORD).await;
        (answer.status() != StatusCode::SERVICE_UNAVAILABLE).then_some(answer)
    })
    .await
}

#[tokio::test(flavor = "multi_thread")]
async fn log_13_an_account_that_is_closed_meanwhile_keeps_no_session() {
    let api = TestApi::start().await;
    api.verified_account(EMAIL).await;
    for round in 0..30 {
        let before = api.sessions.live();
        let logins = futures::future::join_all((0..4).map(|_| api.login(EMAIL, PASSWORD)));
        let closing = api.execute("UPDATE auth.users SET status = 'suspended'");
        let (answers, ()) = tokio::join!(logins, closing);
        let let_in = answers.iter().filter(|answer| answer.status() == StatusCode::OK).count();
        assert_eq!(api.sessions.live() - before, let_in, "round {round}: each was answered or ended again");
        problem(api.login(EMAIL, PASSWORD).await, 401, "invalid_credentials").await;
        api.execute("UPDATE auth.users SET status = 'active'").await;
        api.execute("DELETE FROM auth.attempts").await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_password_that_was_changed_meanwhile_opens_no_session() {
    while_a_login_waits("credential_epoch = credential_epoch + 1").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn roles_that_were_changed_meanwhile_are_in_no_session() {
    while_a_login_waits("roles = '{}'").await;
}

/// Changes the account between the proof of its owner and the end of the login, which then fails.
async fn while_a_login_waits(change: &str) {
    let api = TestApi::start().await;
    api.verified_account(EMAIL).await;
    let mut changing = api.database.admin().connection().await.unwrap();
    let change = async {
        changing.batch_execute("BEGIN; SELECT FROM auth.users FOR UPDATE").await.unwrap();
        eventually("the login waits for the account", Duration::from_secs(5), || async {
            (api.sessions.live() == 1).then_some(())
        })
        .await;
        let statement = format!("UPDATE auth.users SET {change}; COMMIT");
        changing.batch_execute(&statement).await.unwrap();
    };
    let (answer, ()) = tokio::join!(api.login(EMAIL, PASSWORD), change);
    let refused: Value = problem(answer, 401, "invalid_credentials").await;
    assert_eq!(refused["detail"], "Email or password is incorrect.");
    assert_eq!(api.sessions.live(), 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn log_02_guesses_that_are_made_slowly_add_up_and_an_end_stays_one() {
    let (api, clock) = with_clock().await;
    for _ in 0..4 {
        problem(api.login(EMAIL, WRONG).await, 401, "invalid_credentials").await;
    }
    let remembered = async |days: i64| {
        clock.advance(TimeDelta::days(days));
        maintain_once(&api.state).await.unwrap();
        api.sql("SELECT coalesce(sum(consecutive), 0) FROM auth.attempts").await
    };
    assert_eq!(remembered(29).await, "4");
    assert_eq!(remembered(2).await, "0");
    problem(api.login(EMAIL, WRONG).await, 401, "invalid_credentials").await;
    api.execute("UPDATE auth.attempts SET consecutive = 99").await;
    assert_eq!(remembered(181).await, "0");
    problem(api.login(EMAIL, WRONG).await, 401, "invalid_credentials").await;
    api.execute("UPDATE auth.attempts SET consecutive = 100").await;
    assert_eq!(remembered(1000).await, "100");
}
