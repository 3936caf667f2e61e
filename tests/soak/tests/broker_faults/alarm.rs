use std::time::{Duration, Instant};

use auth_events::commands::Lane;
use chrono::TimeDelta;
use e2e::{Stack, ledger, traffic::beside};
use secrecy::ExposeSecret;
use soak::{
    life::{Life, all_are_answered},
    orders::{Orders, arrived},
};
use test_support::{
    eventually,
    smtp::{Behaviour, SmtpServer},
};
use tokio::time::sleep;

const PER_SECOND: u32 = 40;
/// Longer than three batches wait for their confirmations.
const SHORT_OF_MEMORY: Duration = Duration::from_secs(45);
const MADE_UP_FOR: Duration = Duration::from_mins(1);
/// Fewer than the mailer has in hand at once.
const LATE: usize = 4;
/// For about ten seconds.
const SOON: usize = 200;
const SOON_AFTER: usize = 40;

#[tokio::test(flavor = "multi_thread")]
async fn fx_mq_10_a_broker_that_is_short_of_memory_keeps_nobody_from_working_and_loses_nothing() {
    let smtp = SmtpServer::plain().await;
    // Some mails have to go to another queue, and the rest take so long that many are still in theirs when the alarm begins.
    smtp.decide(|address, earlier| match earlier {
        0 if address.starts_with("late-") => Behaviour::LATER,
        _ if address.starts_with("soon-") => Behaviour::Slow(Duration::from_millis(200)),
        _ => Behaviour::Accept,
    });
    let stack = Stack::start(&[
        ("RATE_LIMITS", "off".to_owned()),
        ("SEED_USERS", "1".to_owned()),
        ("SMTP_URL", smtp.url().expose_secret().to_owned()),
    ])
    .await;
    let life = Life::begin(&stack).await;
    let orders = Orders::to(&stack, &stack.variable("AMQP_URL").into());
    let order = async |kind: &str, count: usize| {
        let addresses = (0..count).map(|number| format!("{kind}-{number}@{kind}-{number}.example"));
        orders.mails(Lane::Security, TimeDelta::hours(1), addresses).await
    };
    // The first retry makes the mailer connect once more.
    let first = order("late-first", 1).await;
    let ((), before) =
        beside(sleep(Duration::from_secs(10)), PER_SECOND, |number| life.request(number)).await;

    let connected = connections(&stack).await;
    let alarm = async {
        // The late ones come to their turn when the alarm has begun.
        let mut soon = order("soon", SOON).await;
        let late = order("late", LATE).await;
        soon.extend(order("soon-after", SOON_AFTER).await);
        stack.rabbitmqctl(&["set_vm_memory_high_watermark", "0"]).await;
        let began = Instant::now();
        let in_queues = soon.len() - arrived(&soon, &[&smtp]);
        assert!(in_queues > SOON_AFTER + 20, "{in_queues}: too late to see anything");
        let acknowledged = async || {
            sleep(Duration::from_secs(1)).await;
            let is_done = arrived(&soon, &[&smtp]) == soon.len() && waiting(&stack).await == LATE;
            is_done.then_some(began.elapsed())
        };
        let worked_off =
            eventually("all but the late ones are acknowledged", SHORT_OF_MEMORY, acknowledged).await;
        assert_eq!(arrived(&late, &[&smtp]), 0);
        sleep(SHORT_OF_MEMORY.saturating_sub(began.elapsed())).await;
        let (still, unsent) = (connections(&stack).await, ledger::in_outboxes(&stack).await);
        stack.rabbitmqctl(&["set_vm_memory_high_watermark", "absolute", "512MB"]).await;
        let all = || arrived(&late, &[&smtp]) == LATE && arrived(&first, &[&smtp]) == 1;
        eventually("the late ones are there", MADE_UP_FOR, async || all().then_some(())).await;
        (in_queues, worked_off, still, unsent)
    };
    let ((in_queues, worked_off, still, unsent), during) =
        beside(alarm, PER_SECOND, |number| life.request(number)).await;
    ledger::outboxes_are_empty(&stack, MADE_UP_FOR).await;
    println!(
        "fx_mq_10: short of memory for {SHORT_OF_MEMORY:?}; {} requests; {in_queues} mails were in the queues, worked off after {worked_off:.1?}; \
         {unsent} messages waited; {connected} connections before, {still} at the end",
        before.len() + during.len(),
    );
    all_are_answered(&[before, during].concat());
    assert!(unsent >= 500, "{unsent}: the broker took messages");
    assert!(still <= connected, "{connected} connections became {still}");
    life.is_in_order("fx_mq_10", &stack, &smtp, Duration::from_mins(2)).await;
}

async fn connections(stack: &Stack) -> usize {
    stack.rabbitmqctl(&["list_connections", "--no-table-headers", "name"]).await.lines().count()
}

/// How many mails are in the mailer's queues, those included that were delivered and not acknowledged.
async fn waiting(stack: &Stack) -> usize {
    let queues = ["list_queues", "--vhost", "feature-auth", "--no-table-headers", "name", "messages"];
    let list = stack.rabbitmqctl(&queues).await;
    let found = list.lines().filter_map(|line| line.split_once('\t'));
    let lanes = found.filter(|(name, _)| name.starts_with("mailer.send.") && !name.contains(".retry."));
    let numbers = lanes.map(|(_, number)| number);
    numbers.map(|number| number.trim().parse::<usize>().unwrap()).sum()
}
