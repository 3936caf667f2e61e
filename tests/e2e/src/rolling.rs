//! Replicas that are told to stop, one after the other, under load.

use std::time::{Duration, Instant};

use rustix::process::Signal;
use test_support::eventually;

use crate::{
    Stack,
    balancer::Balancer,
    crowd::Crowd,
    grpc::balanced_sessions,
    stack::PATIENCE,
    traffic::{Answer, beside, problems},
};

/// As many as a user may have, and not a multiple of three, so that each of them makes each kind of request.
const SESSIONS: usize = 20;
const STOPS: usize = 10;

const SESSION_SERVICES: [(&str, &str); 2] =
    [("SESSION_SERVICE_PID", "SESSION_MGMT"), ("SESSION_SERVICE_PID_2", "SESSION_MGMT_2")];
const AUTH_APIS: [(&str, &str); 2] =
    [("AUTH_API_PID", "AUTH_API_MGMT"), ("AUTH_API_PID_2", "AUTH_API_MGMT_2")];

/// Stops session-services in turn, ten times, while requests of three kinds arrive; none of them fails.
///
/// # Panics
/// When a request failed.
pub async fn stop_session_services(per_second: u32) {
    let stack = start().await;
    let crowd = Crowd::logged_in(&stack, "ada@example.com", SESSIONS).await;
    let (sessions, balancer) = (balanced_sessions(&stack), Balancer::of_one(&stack));
    let began = Instant::now();
    let stops = stop_in_turn(&stack, SESSION_SERVICES, || true);
    let ((), answers) = beside(stops, per_second, |number| match number % 3 {
        0 => crowd.me(number, &balancer),
        1 => crowd.refresh(number, &balancer),
        _ => crowd.validate(number, &sessions),
    })
    .await;
    nothing_failed(&answers, per_second, began.elapsed());
}

/// Likewise auth-apis, behind a balancer that follows readiness.
///
/// # Panics
/// When a request failed.
pub async fn stop_auth_apis(per_second: u32) {
    let stack = start().await;
    let crowd = Crowd::logged_in(&stack, "ada@example.com", SESSIONS).await;
    let balancer = Balancer::of_both(&stack);
    let began = Instant::now();
    let stops = stop_in_turn(&stack, AUTH_APIS, || balancer.has_all());
    let stops = beside(stops, per_second, |number| match number % 3 {
        0 => crowd.refresh(number, &balancer),
        _ => crowd.me(number, &balancer),
    });
    let ((), answers) = tokio::select! {
        done = stops => done,
        never = balancer.look_after_readiness() => match never {},
    };
    nothing_failed(&answers, per_second, began.elapsed());
}

/// Long enough for whoever follows readiness to have looked since.
async fn start() -> Stack {
    let variables = [("RATE_LIMITS", "off".to_owned()), ("SHUTDOWN_DELAY", "1s".to_owned())];
    Stack::start_replicas(&variables).await
}

/// Stops one after the other; each is back, and `everybody_knows`, before the next one goes.
async fn stop_in_turn(stack: &Stack, replicas: [(&str, &str); 2], everybody_knows: impl Fn() -> bool) {
    for (pid, management) in replicas.iter().cycle().take(STOPS) {
        stack.replace(pid, management, Signal::TERM).await;
        eventually("everybody knows", PATIENCE, || async { everybody_knows().then_some(()) }).await;
    }
}

fn nothing_failed(answers: &[Answer], per_second: u32, took: Duration) {
    let problems = problems(answers);
    let slowest = answers.iter().map(|answer| answer.took).max().unwrap();
    println!(
        "{STOPS} stops, {} requests at {per_second}/s in {} s, {} failed, the slowest took {slowest:.1?}",
        answers.len(),
        took.as_secs(),
        problems.len()
    );
    assert!(answers.len() > 1_000);
    assert!(
        problems.is_empty(),
        "{} failed: {:?}",
        problems.len(),
        problems.iter().take(20).collect::<Vec<_>>()
    );
}
