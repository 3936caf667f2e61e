use std::time::{Duration, SystemTime};

use e2e::{
    journey::{self, text},
    stack::PATIENCE,
    traffic::{Answer, problems},
};
use reqwest::StatusCode;
use rustix::process::Signal;
use secrecy::ExposeSecret;
use serde_json::{Value, json};
use soak::timing::percentile;
use test_support::{Proxy, eventually, redis_url};

use crate::platform::{GUESSES, Platform};

/// What one address may try in a minute, and what comes back meanwhile.
const TRIES: usize = 10 + 5;

fn p95(answers: &[Answer]) -> Duration {
    percentile(&answers.iter().map(|answer| answer.took).collect::<Vec<_>>(), 95)
}

fn users_go_on(answers: &[Answer]) {
    let problems = problems(answers);
    assert!(problems.len() * 100 <= answers.len(), "{} of {}: {problems:?}", problems.len(), answers.len());
}

/// A logout counts at both replicas at once where it matters, and soon everywhere else.
async fn a_logout_is_known_everywhere(platform: &Platform, user: usize) {
    let tokens = platform.log_in(user).await;
    let access = text(&tokens, "accessToken");
    assert_eq!(platform.security(access).await, [StatusCode::OK; 2]);
    let refresh = json!({"refreshToken": journey::text(&tokens, "refreshToken")});
    assert_eq!(platform.post("/v1/auth/logout", &refresh).await.status(), StatusCode::OK);
    assert_eq!(platform.security(access).await, [StatusCode::UNAUTHORIZED; 2]);
    assert_eq!(platform.post("/v1/auth/refresh", &refresh).await.status(), StatusCode::UNAUTHORIZED);
    let refused = || async {
        (journey::me(&platform.stack, access).await.status() == StatusCode::UNAUTHORIZED).then_some(())
    };
    eventually("the news came", Duration::from_secs(5), refused).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn fx_rd_01_without_redis_users_go_on_and_who_guesses_does_not() {
    let mut proxy = Proxy::absent(&redis_url()).await;
    let variables = [("REDIS_URL", proxy.url().expose_secret().to_owned())];
    let platform = Platform::start(&variables).await;
    users_go_on(&platform.everyday_life().await);
    assert_eq!(platform.judged_guesses(0, async || {}).await, GUESSES);

    proxy.appear().await;
    // Long enough for everybody to have tried again.
    tokio::time::sleep(Duration::from_secs(10)).await;
    let with = platform.everyday_life().await;
    proxy.vanish().await;
    let without = platform.everyday_life().await;
    for management in ["AUTH_API_MGMT", "AUTH_API_MGMT_2", "SESSION_MGMT", "SESSION_MGMT_2"] {
        assert!(platform.stack.is_ready(management).await, "{management}");
    }
    users_go_on(&with);
    users_go_on(&without);
    let (with, without) = (p95(&with), p95(&without));
    println!("p95 {with:.1?} with Redis, {without:.1?} without");
    assert!(without <= with + Duration::from_millis(20), "p95 {with:?} became {without:?}");

    assert_eq!(platform.judged_guesses(1, async || {}).await, GUESSES);
    let judged = platform.judged_from_one_address("198.51.100.7").await;
    assert!((1..=TRIES).contains(&judged), "{judged}");
    a_logout_is_known_everywhere(&platform, 2).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn fx_rd_03_a_redis_that_forgot_everything_opens_nothing() {
    let platform = Platform::start(&[]).await;
    let dead = platform.log_in(0).await;
    let refresh = json!({"refreshToken": dead["refreshToken"]});
    assert_eq!(platform.post("/v1/auth/logout", &refresh).await.status(), StatusCode::OK);
    for (user, restarts) in [(1, false), (2, true)] {
        let judged = platform.judged_guesses(user, async || forget(&platform, restarts).await).await;
        assert_eq!(judged, GUESSES, "restarts: {restarts}");
    }
    assert_eq!(platform.security(text(&dead, "accessToken")).await, [StatusCode::UNAUTHORIZED; 2]);
    assert_eq!(platform.post("/v1/auth/refresh", &refresh).await.status(), StatusCode::UNAUTHORIZED);
    a_logout_is_known_everywhere(&platform, 3).await;
}

/// Redis loses what it has, and where it restarts also its connections.
async fn forget(platform: &Platform, restarts: bool) {
    let mut redis = platform.redis().await;
    // A Redis that is just going away says nothing.
    redis::cmd("FLUSHALL").query_async::<()>(&mut redis).await.ok();
    if restarts {
        redis::cmd("SHUTDOWN").arg("NOSAVE").query_async::<()>(&mut redis).await.ok();
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn fx_rd_04_filling_redis_evicts_no_count_of_an_account() {
    let platform = Platform::start(&[]).await;
    configure(&platform, &[("maxmemory-policy", "allkeys-lru"), ("maxmemory", "8mb")]).await;
    let judged = platform.judged_guesses(0, async || fill(&platform).await).await;
    assert_eq!(judged, GUESSES);
    a_logout_is_known_everywhere(&platform, 1).await;
}

async fn configure(platform: &Platform, settings: &[(&str, &str)]) {
    let mut redis = platform.redis().await;
    for (name, value) in settings {
        let mut set = redis::cmd("CONFIG");
        set.arg("SET").arg(name).arg(value).query_async::<()>(&mut redis).await.unwrap();
    }
}

/// More than there is room for, so that everything older goes.
async fn fill(platform: &Platform) {
    let mut redis = platform.redis().await;
    let junk = vec![b'x'; 64 * 1024];
    for number in 0..256 {
        let mut set = redis::cmd("SET");
        set.arg(format!("junk:{number}")).arg(&junk).query_async::<()>(&mut redis).await.unwrap();
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn fx_rd_05_a_redis_that_takes_nothing_more_lets_nobody_pass() {
    let platform = Platform::start(&[]).await;
    configure(&platform, &[("maxmemory-policy", "noeviction"), ("maxmemory", "1mb")]).await;
    let mut redis = platform.redis().await;
    let full = redis::cmd("SET").arg("probe").arg(1).query_async::<()>(&mut redis).await;
    assert!(full.unwrap_err().to_string().contains("OOM"), "Redis is full");
    let judged = platform.judged_from_one_address("198.51.100.7").await;
    assert!((1..=TRIES).contains(&judged), "{judged}");
    assert_eq!(platform.judged_guesses(0, async || {}).await, GUESSES);
    users_go_on(&platform.everyday_life().await);
    a_logout_is_known_everywhere(&platform, 1).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn fx_rd_06_what_redis_lost_is_used_no_second_time() {
    let platform = Platform::start(&[]).await;
    let stack = &platform.stack;
    let handle = journey::register(stack, "linked@example.com").await;
    let token = journey::token_of(&stack.mail("linked@example.com").await.links);
    let request = json!({"token": token, "registrationHandle": handle});
    used_once(&platform, "/v1/auth/verify-email", [&request, &request]).await;

    let request = json!({"email": "linked@example.com", "captchaToken": ""});
    stack.sql("DELETE FROM auth.mail_allowances").await;
    assert_eq!(platform.post("/v1/auth/forgot-password", &request).await.status(), StatusCode::ACCEPTED);
    let link = eventually("the link arrives", PATIENCE, || async {
        let mails = stack.mails("linked@example.com").await;
        let mut links = mails.iter().flat_map(|mail| &mail.links);
        links.find_map(|link| Some(link.split_once("/reset-password#token=")?.1.to_owned()))
    })
    .await;
    let [first, second] = ["four words nobody guesses", "another four words to guess"]
        .map(|password| json!({"token": link, "newPassword": password}));
    used_once(&platform, "/v1/auth/reset-password", [&first, &second]).await;

    let secret = with_second_factor(&platform, 0).await;
    let otp = code_at(&secret, SystemTime::now() + Duration::from_secs(30));
    let [first, second] = [platform.log_in(0).await, platform.log_in(0).await]
        .map(|challenge| json!({"challengeId": challenge["challengeId"], "otp": otp}));
    used_once(&platform, "/v1/auth/2fa/verify", [&first, &second]).await;
}

/// Redis dies right after the first use. Requests go to the replicas in turn.
async fn used_once(platform: &Platform, path: &str, [first, second]: [&Value; 2]) {
    assert_eq!(platform.post(path, first).await.status(), StatusCode::OK, "{path}");
    platform.stack.signal("REDIS_PID", Signal::KILL);
    for _ in 0..4 {
        let answer = platform.post(path, second).await.status();
        assert!(answer.is_client_error(), "{path}: {answer}");
    }
}

/// Turns the second factor of a user on; the secret of the app.
async fn with_second_factor(platform: &Platform, user: usize) -> String {
    let tokens = platform.log_in(user).await;
    let enrol = async |path: &str, request: Value| {
        let request = platform.stack.api(reqwest::Method::POST, path).json(&request);
        let answer = request.bearer_auth(text(&tokens, "accessToken")).send().await.unwrap();
        assert_eq!(answer.status(), StatusCode::OK, "{path}");
        answer.json::<Value>().await.unwrap()
    };
    let enrolment = enrol("/v1/auth/2fa/enable-init", json!({})).await;
    let secret = text(&enrolment, "secret").to_owned();
    let otp = code_at(&secret, SystemTime::now());
    enrol(
        "/v1/auth/2fa/enable-complete",
        json!({"challengeId": journey::text(&enrolment, "challengeId"), "otp": otp}),
    )
    .await;
    secret
}

fn code_at(secret: &str, time: SystemTime) -> String {
    let secret = totp_rs::Secret::try_from_base32(secret).unwrap();
    let app = totp_rs::Builder::new().with_secret(secret).with_account_name("test").build().unwrap();
    app.generate(time.duration_since(SystemTime::UNIX_EPOCH).unwrap().as_secs()).to_string()
}
