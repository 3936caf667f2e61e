use std::time::{Duration, Instant};

use e2e::{
    Stack,
    balancer::Balancer,
    crowd::Crowd,
    grpc::balanced_sessions,
    stack::{PATIENCE, Stopped},
    traffic::{Answer, beside, problems},
};
use rustix::process::Signal;
use soak::timing::percentile;
use test_support::eventually;
use tokio::time::sleep;

/// As many as a user may have, and not a multiple of three: each of them makes each kind of request.
const SESSIONS: usize = 20;
const SESSION_SERVICES: [(&str, &str); 2] =
    [("SESSION_SERVICE_PID", "SESSION_MGMT"), ("SESSION_SERVICE_PID_2", "SESSION_MGMT_2")];

async fn still_logged_in(crowd: &Crowd, balancer: &Balancer) {
    eventually("everybody is still logged in", PATIENCE, || async {
        crowd.is_still_logged_in(balancer).await.ok()
    })
    .await;
}

fn p95<'a>(answers: impl Iterator<Item = &'a Answer>) -> Duration {
    percentile(&answers.map(|answer| answer.took).collect::<Vec<_>>(), 95)
}

#[tokio::test(flavor = "multi_thread")]
async fn fx_ss_02_a_session_service_that_says_nothing_delays_nobody_for_long() {
    const LONGEST: Duration = Duration::from_millis(1_700);
    let stack = Stack::start(&[("RATE_LIMITS", "off".to_owned())]).await;
    let crowd = Crowd::logged_in(&stack, "ada@example.com", SESSIONS).await;
    let balancer = Balancer::of_one(&stack);
    let stopped = Stopped::service(&stack, "SESSION_SERVICE_PID");
    let ((), refreshes) =
        beside(sleep(Duration::from_secs(10)), 5, |number| crowd.refresh(number, &balancer)).await;
    let ((), reads) = beside(sleep(Duration::from_secs(10)), 20, |number| crowd.me(number, &balancer)).await;
    drop(stopped);
    let slowest = refreshes.iter().chain(&reads).map(|answer| answer.took).max().unwrap();
    println!("{} refreshes and {} reads, the slowest took {slowest:.1?}", refreshes.len(), reads.len());
    assert!(slowest <= LONGEST, "{slowest:?}");
    let refused = problems(&refreshes);
    assert_eq!(refused.len(), refreshes.len());
    assert!(refused.iter().all(|problem| problem.starts_with("refresh: 503")), "{refused:?}");
    assert_eq!(problems(&reads), Vec::<&str>::new());
    still_logged_in(&crowd, &balancer).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn fx_ss_03_a_killed_session_service_costs_no_more_than_what_was_on_its_way() {
    const KILLS: usize = 20;
    /// Until its connections are seen to be closed.
    const NOTICED: Duration = Duration::from_millis(50);
    let stack = Stack::start_replicas(&[("RATE_LIMITS", "off".to_owned())]).await;
    let crowd = Crowd::logged_in(&stack, "ada@example.com", SESSIONS).await;
    let (balancer, sessions) = (Balancer::of_one(&stack), balanced_sessions(&stack));
    let strikes = async {
        let mut struck = Vec::new();
        for (pid, management) in SESSION_SERVICES.iter().cycle().take(KILLS) {
            struck.push(Instant::now());
            stack.replace(pid, management, Signal::KILL).await;
        }
        struck
    };
    let (struck, answers) = beside(strikes, 100, |number| match number % 3 {
        0 => crowd.refresh(number, &balancer),
        1 => crowd.me(number, &balancer),
        _ => crowd.validate(number, &sessions),
    })
    .await;
    let in_flight =
        |at: Instant| answers.iter().filter(|answer| answer.was_in_flight(at, at + NOTICED)).count();
    let in_flight: usize = struck.into_iter().map(in_flight).sum();
    let problems = problems(&answers);
    println!(
        "{} requests, {in_flight} on their way at {KILLS} kills, {} failed",
        answers.len(),
        problems.len()
    );
    assert!(problems.len() <= in_flight, "{problems:?}");
    assert!(problems.iter().all(|problem| !problem.contains("401")), "nobody is logged out: {problems:?}");
    still_logged_in(&crowd, &balancer).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn fx_ss_04_a_session_service_that_vanished_from_the_network_is_passed_over() {
    const EJECTED: Duration = Duration::from_secs(10);
    let stack = Stack::start_replicas(&[("RATE_LIMITS", "off".to_owned())]).await;
    let crowd = Crowd::logged_in(&stack, "ada@example.com", SESSIONS).await;
    let (balancer, sessions) = (Balancer::of_one(&stack), balanced_sessions(&stack));
    let request = |number| match number % 3 {
        0 => crowd.refresh(number, &balancer),
        1 => crowd.me(number, &balancer),
        _ => crowd.validate(number, &sessions),
    };
    let ((), before) = beside(sleep(Duration::from_secs(10)), 60, request).await;
    assert_eq!(problems(&before), Vec::<&str>::new());
    let stopped = Stopped::service(&stack, "SESSION_SERVICE_PID_2");
    let began = Instant::now();
    let ((), during) = beside(sleep(EJECTED * 2), 60, request).await;
    drop(stopped);
    let (early, late): (Vec<_>, Vec<_>) =
        during.into_iter().partition(|answer| answer.sent.duration_since(began) < EJECTED);
    let (before, after) = (p95(before.iter()), p95(late.iter()));
    println!(
        "{} of {} failed in the first ten seconds; p95 {before:.1?} before, {after:.1?} after them",
        problems(&early).len(),
        early.len()
    );
    assert_eq!(problems(&late), Vec::<&str>::new());
    assert!(after <= (before * 2).max(Duration::from_millis(20)), "p95 {before:?} became {after:?}");
    still_logged_in(&crowd, &balancer).await;
}
