//! Services and the broker die at the worst moment: nothing that was acknowledged is lost, nothing is audited twice.
#![expect(clippy::unwrap_used, reason = "a test may panic")]

use std::{
    collections::BTreeSet,
    sync::atomic::{AtomicUsize, Ordering},
    time::Duration,
};

use e2e::{
    Stack,
    journey::{register, registration},
    stack::signal_process,
};
use futures::stream::{self, StreamExt};
use reqwest::{Response, StatusCode};
use rustix::process::Signal;
use test_support::eventually;

const REGISTRATIONS: usize = 200;
const AT_ONCE: usize = 12;
const PATIENCE: Duration = Duration::from_secs(90);
/// A mail that was being sent when the mailer died is sent again two minutes later: it may just be slow, and must not be sent twice for that.
const MAIL_PATIENCE: Duration = Duration::from_mins(4);

#[tokio::test(flavor = "multi_thread")]
async fn acknowledged_registrations_survive_crashes() {
    // One client registers them all.
    let stack = Stack::start(&[("RATE_LIMITS", "off".to_owned())]).await;
    for (index, victim) in
        ["AUTH_API_PID", "SESSION_SERVICE_PID", "MAILER_PID", "AUDIT_SERVICE_PID"].iter().enumerate()
    {
        let acknowledged = register_many(&stack, &format!("crash{index}"), || {
            stack.signal(victim, Signal::KILL);
        })
        .await;
        assert!(acknowledged.len() >= REGISTRATIONS / 4, "{victim}: {}", acknowledged.len());
        nothing_is_lost(&stack, &acknowledged, *victim == "MAILER_PID").await;
    }
    let acknowledged =
        register_many(&stack, "broker", || signal_process(broker_pid(&stack), Signal::KILL)).await;
    assert_eq!(acknowledged.len(), REGISTRATIONS, "a registration does not need the broker");
    nothing_is_lost(&stack, &acknowledged, true).await;
    // The platform works on as if nothing had happened.
    register(&stack, "afterwards@example.com").await;
    stack.mail("afterwards@example.com").await;
}

/// Registers many addresses and calls `strike` in the middle; the acknowledged ones.
async fn register_many(stack: &Stack, prefix: &str, strike: impl Fn()) -> BTreeSet<String> {
    let done = AtomicUsize::new(0);
    let attempts = stream::iter(0..REGISTRATIONS).map(|index| {
        let (done, strike) = (&done, &strike);
        let email = format!("{prefix}-{index}@example.com");
        async move {
            // A machine that is too busy says so, and to come again.
            let answer = eventually("a registration is not put off", PATIENCE, || async {
                let answer = stack.try_post("/v1/auth/register", &registration(&email)).await;
                let is_put_off = |it: &Response| it.status() == StatusCode::SERVICE_UNAVAILABLE;
                (!answer.as_ref().is_ok_and(is_put_off)).then_some(answer)
            })
            .await;
            if done.fetch_add(1, Ordering::SeqCst) == REGISTRATIONS / 2 {
                strike();
            }
            answer.is_ok_and(|answer| answer.status() == StatusCode::ACCEPTED).then_some(email)
        }
    });
    let acknowledged = attempts.buffer_unordered(AT_ONCE).filter_map(|email| async { email }).collect().await;
    let health = || async { stack.api(reqwest::Method::GET, "/health").send().await.ok() };
    eventually("auth-api is back", PATIENCE, health).await;
    acknowledged
}

async fn nothing_is_lost(stack: &Stack, acknowledged: &BTreeSet<String>, mails_may_repeat: bool) {
    let list = acknowledged.iter().map(|email| format!("'{email}'")).collect::<Vec<_>>().join(",");
    let audited = format!(
        "SELECT count(*) FROM audit.events WHERE type = 'user.registered' \
         AND subject_id IN (SELECT id FROM auth.users WHERE email IN ({list})) GROUP BY subject_id"
    );
    let rows = eventually("every registration is audited", PATIENCE, || async {
        let rows = stack.sql(&audited).await;
        (rows.len() >= acknowledged.len()).then_some(rows)
    })
    .await;
    assert_eq!(rows.len(), acknowledged.len());
    assert!(rows.iter().all(|count| count == "1"), "an event is stored once: {rows:?}");

    let mut repeated = 0;
    for email in acknowledged {
        let mails = eventually("every mail arrives", MAIL_PATIENCE, || async {
            Some(stack.mails(email).await).filter(|mails| !mails.is_empty())
        })
        .await;
        let ids: BTreeSet<&str> = mails.iter().map(|mail| mail.message_id.as_str()).collect();
        assert_eq!(ids.len(), 1, "{email}: a second delivery has the same Message-ID");
        repeated += mails.len() - 1;
    }
    // At most what was in flight when the mailer, or the broker's acknowledgement to it, died.
    assert!(repeated <= if mails_may_repeat { 8 } else { 0 }, "{repeated} mails came twice");
}

fn broker_pid(stack: &Stack) -> i32 {
    let pid = std::fs::read_to_string(stack.state().join("rabbitmq/pid")).unwrap();
    pid.trim().parse().unwrap()
}
