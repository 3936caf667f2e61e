//! Redis forgets, and `kill -9` strikes in the middle of its counts: nothing is open that was closed, and nothing is closed for ever.
#![expect(clippy::unwrap_used, reason = "a test may panic")]

use std::{
    sync::atomic::{AtomicBool, AtomicU32, Ordering},
    time::{Duration, SystemTime},
};

use e2e::{
    Stack,
    journey::{self, PASSWORD, text},
};
use futures::future::join_all;
use redis::aio::MultiplexedConnection;
use reqwest::{Method, Response, StatusCode};
use rustix::process::Signal;
use serde_json::{Value, json};
use test_support::eventually;

const LOGIN: &str = "/v1/auth/login";
const VERIFY: &str = "/v1/auth/2fa/verify";
const WRONG_PASSWORD: &str = "not the right password";
const STEP: u64 = 30;
const PATIENCE: Duration = Duration::from_mins(1);

#[tokio::test(flavor = "multi_thread")]
async fn flushing_redis_in_the_middle_of_an_attack_opens_nothing_again() {
    let stack = Stack::start(&[("CAPTCHA", "off".to_owned())]).await;
    let mut redis = redis(&stack).await;
    Box::pin(the_pause_of_an_account_goes_on(&stack, &mut redis)).await;
    Box::pin(a_used_code_stays_used_and_a_lock_locked(&stack, &mut redis)).await;
    Box::pin(a_used_link_stays_used(&stack, &mut redis)).await;
}

async fn the_pause_of_an_account_goes_on(stack: &Stack, redis: &mut MultiplexedConnection) {
    let email = "paused@example.com";
    journey::logged_in(stack, email).await;
    let mut judged = 0;
    for _ in 0..20 {
        flush(redis).await;
        let answer = login(stack, email, WRONG_PASSWORD).await.status();
        judged += usize::from(answer == StatusCode::UNAUTHORIZED);
        assert!([StatusCode::UNAUTHORIZED, StatusCode::TOO_MANY_REQUESTS].contains(&answer), "{answer}");
    }
    assert_eq!(judged, 5, "one guess after the other, and Redis is flushed before each");
    assert_eq!(login(stack, email, PASSWORD).await.status(), StatusCode::TOO_MANY_REQUESTS);
}

async fn a_used_code_stays_used_and_a_lock_locked(stack: &Stack, redis: &mut MultiplexedConnection) {
    let email = "protected@example.com";
    let tokens = journey::logged_in(stack, email).await;
    let access = text(&tokens, "accessToken");
    let enrol = async |path: &str, request: Value| {
        let sent = stack.api(Method::POST, path).bearer_auth(access).json(&request).send().await.unwrap();
        assert_eq!(sent.status(), StatusCode::OK, "{path}");
        sent.json::<Value>().await.unwrap()
    };
    let enrolment = enrol("/v1/auth/2fa/enable-init", json!({})).await;
    let secret = text(&enrolment, "secret");
    let request = json!({"challengeId": text(&enrolment, "challengeId"), "otp": code(secret, 0)});
    enrol("/v1/auth/2fa/enable-complete", request).await;

    let present = async |otp: &str| {
        let challenge: Value = login(stack, email, PASSWORD).await.json().await.unwrap();
        let request = json!({"challengeId": text(&challenge, "challengeId"), "otp": otp});
        post(stack, VERIFY, &request).await
    };
    // The code of now has turned the second factor on.
    let used = code(secret, STEP);
    assert_eq!(present(&used).await.status(), StatusCode::OK);
    flush(redis).await;
    assert_eq!(problem(present(&used).await).await, (400, "otp_invalid".to_owned()));

    let mut judged = 1;
    for _ in 0..12 {
        flush(redis).await;
        match problem(present(&wrong_code(secret)).await).await {
            (400, code) if code == "otp_invalid" => judged += 1,
            refused => assert_eq!(refused, (423, "second_factor_locked".to_owned())),
        }
    }
    assert_eq!(judged, 5);
    let locked = problem(present(&code(secret, STEP)).await).await;
    assert_eq!(locked, (423, "second_factor_locked".to_owned()));
}

async fn a_used_link_stays_used(stack: &Stack, redis: &mut MultiplexedConnection) {
    let email = "linked@example.com";
    let handle = journey::register(stack, email).await;
    let token = journey::token_of(&stack.mail(email).await.links);
    let request = json!({"token": token, "registrationHandle": handle});
    let verify = async || post(stack, "/v1/auth/verify-email", &request).await;
    assert_eq!(verify().await.status(), StatusCode::OK);
    flush(redis).await;
    assert_eq!(problem(verify().await).await, (400, "token_invalid".to_owned()));
}

/// That a session has ended is in PostgreSQL, and Redis only carries the news.
#[tokio::test(flavor = "multi_thread")]
async fn tok_11_a_revoked_token_stays_revoked_when_redis_forgets_everything() {
    let stack = Stack::start(&[("CAPTCHA", "off".to_owned())]).await;
    let mut redis = redis(&stack).await;
    let email = "revoked@example.com";
    let (first, second) = (journey::logged_in(&stack, email).await, journey::login(&stack, email).await);
    let (kept, dead) = (text(&first, "accessToken"), text(&second, "accessToken"));
    let logout = post(&stack, "/v1/auth/logout", &json!({"refreshToken": second["refreshToken"]})).await;
    assert_eq!(logout.status(), StatusCode::OK);
    flush(&mut redis).await;
    // What protects the account never waits for news.
    let asked = stack.api(Method::GET, "/v1/auth/2fa").bearer_auth(dead).send().await.unwrap();
    assert_eq!(problem(asked).await, (401, "invalid_token".to_owned()));
    let refused =
        || async { (journey::me(&stack, dead).await.status() == StatusCode::UNAUTHORIZED).then_some(()) };
    eventually("the news came", Duration::from_secs(5), refused).await;
    for _ in 0..20 {
        flush(&mut redis).await;
        assert_eq!(problem(journey::me(&stack, dead).await).await, (401, "invalid_token".to_owned()));
        assert_eq!(journey::me(&stack, kept).await.status(), StatusCode::OK);
    }
    let refresh = post(&stack, "/v1/auth/refresh", &json!({"refreshToken": second["refreshToken"]})).await;
    assert_eq!(problem(refresh).await, (401, "invalid_token".to_owned()));
}

/// A `kill -9` leaves no count behind that would be there for ever.
#[tokio::test(flavor = "multi_thread")]
async fn log_10_a_kill_in_the_middle_of_logins_leaves_no_key_without_an_expiry() {
    const KILLS: usize = 5;
    const AT_ONCE: usize = 12;
    const LOGINS_BETWEEN: u32 = 40;
    let stack = Stack::start(&[("CAPTCHA", "off".to_owned())]).await;
    let (answered, done) = (AtomicU32::new(0), AtomicBool::new(false));
    let attackers = (0..AT_ONCE).map(async |attacker| {
        while !done.load(Ordering::Relaxed) {
            let email = format!("nobody{attacker}@example.com");
            if try_login(&stack, &email, WRONG_PASSWORD).await.is_ok() {
                answered.fetch_add(1, Ordering::Relaxed);
            } else {
                let health = || async { stack.api(Method::GET, "/health").send().await.ok() };
                eventually("auth-api is back", PATIENCE, health).await;
            }
        }
    });
    let kill = async {
        for _ in 0..KILLS {
            let before = answered.load(Ordering::Relaxed);
            eventually("logins are under way", PATIENCE, || async {
                (answered.load(Ordering::Relaxed) >= before + LOGINS_BETWEEN).then_some(())
            })
            .await;
            stack.signal("AUTH_API_PID", Signal::KILL);
        }
        done.store(true, Ordering::Relaxed);
    };
    futures::join!(join_all(attackers), kill);

    let mut redis = redis(&stack).await;
    let mut keys = 0;
    let mut cursor = 0_u64;
    loop {
        let mut scan = redis::cmd("SCAN");
        let (next, found): (u64, Vec<String>) =
            scan.arg(cursor).arg("COUNT").arg(1000).query_async(&mut redis).await.unwrap();
        for key in found {
            let ttl: i64 = redis::cmd("TTL").arg(&key).query_async(&mut redis).await.unwrap();
            assert_ne!(ttl, -1, "{key} stays for ever");
            keys += 1;
        }
        cursor = next;
        if cursor == 0 {
            break;
        }
    }
    assert!(keys > 100, "{keys} keys");
}

async fn redis(stack: &Stack) -> MultiplexedConnection {
    let client = redis::Client::open(stack.variable("REDIS_URL")).unwrap();
    client.get_multiplexed_async_connection().await.unwrap()
}

async fn flush(redis: &mut MultiplexedConnection) {
    redis::cmd("FLUSHALL").query_async::<()>(redis).await.unwrap();
}

async fn login(stack: &Stack, email: &str, password: &str) -> Response {
    try_login(stack, email, password).await.unwrap()
}

async fn try_login(stack: &Stack, email: &str, password: &str) -> reqwest::Result<Response> {
    try_post(stack, LOGIN, &json!({"email": email, "password": password})).await
}

async fn post(stack: &Stack, path: &str, request: &Value) -> Response {
    try_post(stack, path, request).await.unwrap()
}

/// From a network of its own, so that no limit of an address is in the way.
async fn try_post(stack: &Stack, path: &str, request: &Value) -> reqwest::Result<Response> {
    static NETWORKS: AtomicU32 = AtomicU32::new(1 << 24);
    let network = NETWORKS.fetch_add(1 << 8, Ordering::Relaxed);
    let address = std::net::Ipv4Addr::from_bits(network | 7).to_string();
    stack.api(Method::POST, path).header("x-forwarded-for", address).json(request).send().await
}

/// Status and code of a refusal.
async fn problem(answer: Response) -> (u16, String) {
    let status = answer.status().as_u16();
    (status, text(&answer.json().await.unwrap(), "code").to_owned())
}

/// What the authenticator app shows `later` seconds from now.
fn code(secret: &str, later: u64) -> String {
    let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap().as_secs();
    let secret = totp_rs::Secret::try_from_base32(secret).unwrap();
    let app = totp_rs::Builder::new().with_secret(secret).with_account_name("test").build().unwrap();
    app.generate(now + later).to_string()
}

fn wrong_code(secret: &str) -> String {
    let now = [code(secret, 0), code(secret, STEP), code(secret, 2 * STEP)];
    (0..4).map(|guess| format!("{guess:06}")).find(|guess| !now.contains(guess)).unwrap()
}
