//! Whether the time of an answer tells anything about an account.
#![expect(clippy::unwrap_used, clippy::indexing_slicing, reason = "a test may panic")]

use std::{
    collections::BTreeSet,
    sync::atomic::{AtomicUsize, Ordering},
};

use e2e::{Stack, journey};
use reqwest::StatusCode;
use serde_json::{Value, json};
use soak::timing::Arms;

const PAIRS: usize = 1_000;
const WRONG: &str = "not the right password";

async fn stack(users: usize) -> Stack {
    Stack::start(&[
        ("SEED_USERS", users.to_string()),
        ("RATE_LIMITS", "off".to_owned()),
        ("CAPTCHA", "off".to_owned()),
    ])
    .await
}

fn cannot_be_told_apart(what: &str, arms: &Arms) {
    println!("{what}: {arms}");
    assert!((0.45..=0.55).contains(&arms.auc()), "{what}: {arms}");
}

/// Addresses with an account against addresses that nobody registered, each used once.
#[tokio::test(flavor = "multi_thread")]
async fn reg_02_the_time_of_an_answer_does_not_say_whether_an_address_has_an_account() {
    let users = PAIRS * 12 / 10;
    let stack = stack(users).await;
    for path in ["/v1/auth/register", "/v1/auth/forgot-password", "/v1/auth/resend-verification"] {
        let (known, unknown) = (AtomicUsize::new(1), AtomicUsize::new(1));
        let send = async |email: String| {
            let mut request = json!({"email": email});
            if path.ends_with("register") {
                request = json!({"email": email, "password": journey::PASSWORD});
            }
            assert_eq!(stack.post(path, &request).await.status(), StatusCode::ACCEPTED);
        };
        let left = async || {
            send(format!("user{}@example.com", known.fetch_add(1, Ordering::Relaxed))).await;
        };
        let right = async || {
            let page = path.rsplit('/').next().unwrap();
            send(format!("{page}{}@example.net", unknown.fetch_add(1, Ordering::Relaxed))).await;
        };
        let arms = Arms::interleaved(PAIRS, left, right).await;
        cannot_be_told_apart(path, &arms);
        let apart = arms.median_difference();
        assert!(apart.as_millis() < 2, "{path}: medians are {apart:?} apart");
    }
}

/// A wrong password for an open account against whatever else is refused.
#[tokio::test(flavor = "multi_thread")]
async fn log_01_refusals_of_logins_are_one_answer_in_one_time() {
    let stack = stack(3).await;
    let handle = journey::register(&stack, "unverified@example.com").await;
    assert!(!handle.is_empty());
    stack.mail("unverified@example.com").await;
    stack.sql("UPDATE auth.users SET status = 'suspended' WHERE email = 'user2@example.com'").await;
    stack
        .sql(
            "UPDATE auth.users SET password_off_since = now(), password_off_reason = 'secured_by_owner'
             WHERE email = 'user3@example.com'",
        )
        .await;
    let mut answers = Vec::new();
    for (what, email, password) in [
        ("unknown", "nobody@example.com", WRONG),
        ("suspended, right password", "user2@example.com", "CorrectHorseBattery2"),
        ("locked, right password", "user3@example.com", "CorrectHorseBattery3"),
        ("unverified", "unverified@example.com", WRONG),
    ] {
        let mut arms = Arms::default();
        // Four failures of an address are one less than what begins a pause.
        for batch in 0..PAIRS / 4 {
            stack.sql("DELETE FROM auth.attempts").await;
            let left = async || drop(refused(&stack, "user1@example.com", WRONG).await);
            let right = async || drop(refused(&stack, email, password).await);
            // Whoever begins after the deletion takes longer for it.
            arms.extend(if batch % 2 == 0 {
                Arms::interleaved(4, left, right).await
            } else {
                Arms::interleaved(4, right, left).await.swapped()
            });
        }
        cannot_be_told_apart(what, &arms);
        stack.sql("DELETE FROM auth.attempts").await;
        answers.push(refused(&stack, "user1@example.com", WRONG).await);
        answers.push(refused(&stack, email, password).await);
    }
    assert!(answers.windows(2).all(|pair| pair[0] == pair[1]), "{answers:?}");
}

/// What is refused, without ids and dates.
async fn refused(stack: &Stack, email: &str, password: &str) -> (BTreeSet<String>, Value) {
    let answer = stack.post("/v1/auth/login", &json!({"email": email, "password": password})).await;
    assert_eq!(answer.status(), StatusCode::UNAUTHORIZED);
    let headers = answer.headers().keys().map(ToString::to_string).collect();
    let mut problem: Value = answer.json().await.unwrap();
    problem["requestId"] = Value::Null;
    (headers, problem)
}
