use std::time::{Duration, Instant};

use e2e::{Stack, stack::signal_process, traffic::beside};
use rustix::process::Signal;
use secrecy::ExposeSecret;
use soak::{
    drill::parameter,
    life::{Life, all_are_answered},
};
use test_support::{eventually, smtp::SmtpServer};

const PER_SECOND: u32 = 40;
/// A broker repairs its stores, and starts.
const BACK: Duration = Duration::from_mins(1);

/// Twenty times: `make chaos`.
#[tokio::test(flavor = "multi_thread")]
async fn fx_mq_03_a_broker_that_is_killed_again_and_again_loses_nothing() {
    let kills = parameter("BROKER_KILLS", 8);
    let smtp = SmtpServer::plain().await;
    let stack = Stack::start(&[
        ("RATE_LIMITS", "off".to_owned()),
        ("SEED_USERS", "1".to_owned()),
        ("SMTP_URL", smtp.url().expose_secret().to_owned()),
    ])
    .await;
    let life = Life::begin(&stack).await;
    let strikes = async {
        let mut longest = Duration::ZERO;
        for _ in 0..kills {
            let (began, dead) = (Instant::now(), stack.broker_pid().unwrap());
            signal_process(dead, Signal::KILL);
            eventually("there is a new broker", BACK, async || stack.broker_pid().filter(|pid| *pid != dead))
                .await;
            for management in ["MAILER_MGMT", "AUDIT_MGMT"] {
                let ready = async || stack.is_ready(management).await.then_some(());
                eventually("consumers are back", BACK, ready).await;
            }
            longest = longest.max(began.elapsed());
        }
        longest
    };
    let (longest, answers) = beside(strikes, PER_SECOND, |number| life.request(number)).await;
    println!(
        "fx_mq_03: {kills} kills, back after {longest:.1?} at most; {} requests, {} failed",
        answers.len(),
        e2e::traffic::problems(&answers).len()
    );
    all_are_answered(&answers);
    life.is_in_order("fx_mq_03", &stack, &smtp, Duration::from_mins(3)).await;
}
