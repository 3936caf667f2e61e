//! Logins in numbers: from too many users at once, and from an attacker with a list of passwords.

use std::{
    sync::{
        Arc,
        atomic::{AtomicU32, Ordering},
    },
    time::Duration,
};

use e2e::{Stack, journey};
use futures::future::BoxFuture;
use serde_json::json;
use soak::{
    load::{Load, outcome},
    memory::{peak_resident_mib, resident_mib},
};

const USERS: u32 = 2_000;

/// One login after the other, each of another user, with the right password.
fn logins(stack: &Stack) -> impl Fn() -> BoxFuture<'static, Option<u16>> + Send + Sync + use<> {
    let (http, url) = (reqwest::Client::new(), stack.variable("API_URL"));
    let next = Arc::new(AtomicU32::new(0));
    move || {
        let number = next.fetch_add(1, Ordering::Relaxed) % USERS + 1;
        let request = http.post(format!("{url}/v1/auth/login")).json(&json!({
            "email": format!("user{number}@example.com"),
            "password": format!("CorrectHorseBattery{number}"),
        }));
        Box::pin(outcome(request))
    }
}

/// Who one is, asked ten times a second.
async fn me_beside(stack: &Stack, token: &str, duration: Duration) -> Load {
    let (http, url, token) = (reqwest::Client::new(), stack.variable("API_URL"), token.to_owned());
    Load::open_loop(10, duration, move || outcome(http.get(format!("{url}/v1/auth/me")).bearer_auth(&token)))
        .await
}

#[tokio::test(flavor = "multi_thread")]
async fn log_06_a_login_storm_at_four_times_the_capacity_is_shed() {
    let variables =
        [("SEED_USERS", USERS.to_string()), ("RATE_LIMITS", "off".to_owned()), ("CAPTCHA", "off".to_owned())];
    let stack = Stack::start(&variables).await;
    let tokens = journey::logged_in(&stack, "ada@example.com").await;
    let token = journey::text(&tokens, "accessToken");
    let pid = stack.variable("AUTH_API_PID");

    let capacity = Load::closed_loop(4, Duration::from_secs(10), logins(&stack)).await;
    println!("capacity: {capacity}");
    let per_second = u32::try_from(capacity.count_of(Some(200)) / 10).unwrap().max(1);
    let idle = me_beside(&stack, token, Duration::from_secs(20)).await;
    let before = resident_mib(&pid);
    let storm = async { Load::open_loop(4 * per_second, Duration::from_secs(30), logins(&stack)).await };
    let (storm, busy) = tokio::join!(storm, me_beside(&stack, token, Duration::from_secs(30)));
    let peak = peak_resident_mib(&pid);
    println!("idle /me: {idle}\nstorm of {} logins/s: {storm}\n/me beside it: {busy}", 4 * per_second);
    println!("{before} MiB before, {peak} MiB at most");

    let outcomes: Vec<_> = storm.outcomes().collect();
    assert!(outcomes.iter().all(|outcome| [Some(200), Some(503)].contains(outcome)), "{storm}");
    assert!(storm.percentile(100) < Duration::from_millis(3_500), "{storm}");
    assert!(storm.count_of(Some(200)) > 0);
    assert_eq!(busy.count_of(Some(200)), busy.count(), "{busy}");
    assert!(peak < before + 128, "{before} MiB grew to {peak} MiB");
    // On an idle machine a request takes a millisecond or two, and the clock's grain would fail the test.
    let limit = (idle.percentile(95) * 3).max(Duration::from_millis(15));
    assert!(busy.percentile(95) <= limit, "p95 {:?} became {:?}", idle.percentile(95), busy.percentile(95));
}

/// 10 000 pairs, five for each of 2 000 accounts, from 500 addresses; the last pair of each account is right.
#[tokio::test(flavor = "multi_thread")]
async fn log_03_credential_stuffing_gets_nothing_past_the_threshold_and_hinders_nobody() {
    let stack = Stack::start(&[("SEED_USERS", USERS.to_string())]).await;
    let (http, url) = (reqwest::Client::new(), stack.variable("API_URL"));
    let next = Arc::new(AtomicU32::new(0));
    let attack = {
        let (http, url, next) = (http.clone(), url.clone(), Arc::clone(&next));
        Load::closed_loop(8, Duration::from_mins(2), move || {
            let attempt = next.fetch_add(1, Ordering::Relaxed);
            let (account, round) = (attempt % USERS + 1, attempt / USERS);
            let password = if round == 4 {
                format!("CorrectHorseBattery{account}")
            } else {
                format!("guess {round} of a list")
            };
            let address = attempt % 500;
            let request = http
                .post(format!("{url}/v1/auth/login"))
                .header("x-forwarded-for", format!("198.{}.{}.7", address / 250, address % 250))
                .json(&json!({"email": format!("user{account}@example.com"), "password": password}));
            let over = attempt >= 5 * USERS;
            async move {
                if over {
                    // The list is used up.
                    tokio::time::sleep(Duration::from_millis(100)).await;
                    return Some(0);
                }
                outcome(request).await
            }
        })
    };
    let honest = {
        let users = Arc::new(AtomicU32::new(0));
        let (http, url) = (http.clone(), url.clone());
        Load::open_loop(2, Duration::from_secs(100), move || {
            let number = users.fetch_add(1, Ordering::Relaxed);
            let request = http
                .post(format!("{url}/v1/auth/login"))
                .header("x-forwarded-for", format!("203.{}.{}.7", number / 5 / 250, number / 5 % 250))
                .json(&json!({"email": "honest@example.com", "password": journey::PASSWORD}));
            outcome(request)
        })
    };
    let handle = journey::register(&stack, "honest@example.com").await;
    journey::verify(&stack, "honest@example.com", &handle).await;
    let (attack, honest) = tokio::join!(attack, honest);
    println!("attack: {attack}\nhonest logins: {honest}");
    assert_eq!(attack.count_of(Some(200)), 0, "{attack}");
    let attempts = next.load(Ordering::Relaxed);
    assert!(attempts >= 5 * USERS, "only {attempts} attempts were made");
    assert_eq!(honest.count_of(Some(200)), honest.count(), "{honest}");
    assert!(honest.percentile(95) < Duration::from_millis(300), "{honest}");
}
