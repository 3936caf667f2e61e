//! Without the broker everything that a user asks for is done, and what was promised is kept when it is back.

use std::time::{Duration, Instant};

use e2e::{
    Stack,
    balancer::Balancer,
    crowd::Crowd,
    far_broker::FarBroker,
    ledger::{self, Ledger},
    stack::PATIENCE,
    traffic::{beside, problems},
};
use reqwest::StatusCode;
use rustix::process::Signal;
use test_support::{eventually, smtp::SmtpServer};
use tokio::time::sleep;

/// How long the broker is away. Ten minutes of it are in `tests/soak`.
const AWAY: Duration = Duration::from_secs(4);
const REGISTRATIONS: usize = 12;
const SERVICES: [(&str, &str); 4] = [
    ("AUTH_API_PID", "AUTH_API_MGMT"),
    ("SESSION_SERVICE_PID", "SESSION_MGMT"),
    ("MAILER_PID", "MAILER_MGMT"),
    ("AUDIT_SERVICE_PID", "AUDIT_MGMT"),
];

async fn status(stack: &Stack, management: &str, page: &str) -> Option<StatusCode> {
    let url = format!("{}/{page}", stack.variable(management));
    Some(reqwest::Client::new().get(url).send().await.ok()?.status())
}

async fn start(smtp: &SmtpServer) -> FarBroker {
    let smtp_url = secrecy::ExposeSecret::expose_secret(&smtp.url()).to_owned();
    FarBroker::start(&[("SMTP_URL", smtp_url)]).await
}

#[tokio::test(flavor = "multi_thread")]
async fn fx_mq_01_services_that_start_without_a_broker_serve_all_that_needs_none() {
    let smtp = SmtpServer::plain().await;
    let mut far = start(&smtp).await;
    let ledger = Ledger::new(&far.stack, "early");
    far.way.vanish().await;
    let before = SERVICES.map(|(pid, _)| far.stack.variable(pid));
    for (pid, _) in SERVICES {
        far.stack.signal(pid, Signal::KILL);
    }
    for ((pid, management), before) in SERVICES.iter().zip(before) {
        eventually("a successor is alive", PATIENCE, async || {
            let is_new = far.stack.variables().get(*pid).is_some_and(|pid| *pid != before);
            (is_new && status(&far.stack, management, "livez").await == Some(StatusCode::OK)).then_some(())
        })
        .await;
    }
    for (management, expected) in [
        ("AUTH_API_MGMT", StatusCode::OK),
        ("SESSION_MGMT", StatusCode::OK),
        ("MAILER_MGMT", StatusCode::SERVICE_UNAVAILABLE),
        ("AUDIT_MGMT", StatusCode::SERVICE_UNAVAILABLE),
    ] {
        eventually(management, PATIENCE, async || {
            (status(&far.stack, management, "readyz").await == Some(expected)).then_some(())
        })
        .await;
    }
    for number in 0..REGISTRATIONS {
        ledger.register(number).await.unwrap();
    }
    eventually("the outbox has them", PATIENCE, async || {
        (ledger::in_outboxes(&far.stack).await >= 2 * REGISTRATIONS).then_some(())
    })
    .await;
    assert!(smtp.mails().is_empty());

    far.way.appear().await;
    far.consumers_are_ready(PATIENCE).await;
    let balance = ledger.settled(&far.stack, async || ledger::delivered(&smtp), PATIENCE).await;
    assert!(balance.is_exact() && balance.promised == REGISTRATIONS, "{balance}");
}

#[tokio::test(flavor = "multi_thread")]
async fn fx_mq_02_while_the_broker_is_away_requests_are_answered_and_their_facts_wait() {
    const REFRESHED: &str = "session.refreshed";
    let smtp = SmtpServer::plain().await;
    let mut far = start(&smtp).await;
    let ledger = Ledger::new(&far.stack, "waiting");
    let crowd = Crowd::seeded(&far.stack, 5).await;
    let balancer = Balancer::of_one(&far.stack);
    let FarBroker { stack, way, .. } = &mut far;
    let away = async {
        way.vanish().await;
        sleep(AWAY).await;
    };
    let ((), answers) = beside(away, 30, |number| match number % 10 {
        0 => ledger.register(number),
        1..5 => crowd.me(number, &balancer),
        _ => crowd.refresh(number, &balancer),
    })
    .await;
    assert_eq!(problems(&answers), Vec::<&str>::new());
    let slowest = answers.iter().map(|answer| answer.took).max().unwrap();
    let refreshes = answers.len() / 10 * 5 + (answers.len() % 10).saturating_sub(5);
    let waiting = ledger::in_outboxes(stack).await;
    assert!(waiting >= refreshes, "{waiting} wait after {refreshes} refreshes");

    let began = Instant::now();
    way.appear().await;
    ledger::outboxes_are_empty(stack, PATIENCE).await;
    let drained = began.elapsed();
    let balance = ledger.settled(stack, async || ledger::delivered(&smtp), PATIENCE).await;
    let audited = eventually("every refresh is audited", PATIENCE, async || {
        Some(ledger::audited(stack, REFRESHED).await).filter(|(events, _)| *events >= refreshes)
    })
    .await;
    println!(
        "{} requests, the slowest took {slowest:.1?}; {waiting} messages waited and were gone after {drained:.1?}; {balance}",
        answers.len()
    );
    assert!(balance.is_exact(), "{balance}");
    assert_eq!(audited, (refreshes, 0));
}
