use std::time::{Duration, Instant};

use e2e::{Stack, ledger, traffic::beside};
use secrecy::ExposeSecret;
use soak::life::{Life, all_are_answered};
use test_support::{
    eventually,
    smtp::{Behaviour, SmtpServer},
};
use tokio::time::sleep;

const PER_SECOND: u32 = 40;
/// Longer than three batches wait for their confirmations.
const SHORT_OF_MEMORY: Duration = Duration::from_secs(45);
const ACKNOWLEDGED: Duration = Duration::from_secs(15);
const MADE_UP_FOR: Duration = Duration::from_mins(1);

#[tokio::test(flavor = "multi_thread")]
async fn fx_mq_10_a_broker_that_is_short_of_memory_keeps_nobody_from_working_and_loses_nothing() {
    let smtp = SmtpServer::plain().await;
    // So that the mailer has mails that have to go to another queue.
    smtp.decide(|address, earlier| {
        let is_unlucky = address.bytes().map(u32::from).sum::<u32>() % 3 == 1;
        if is_unlucky && earlier == 0 { Behaviour::LATER } else { Behaviour::Accept }
    });
    let stack = Stack::start(&[
        ("RATE_LIMITS", "off".to_owned()),
        ("SEED_USERS", "1".to_owned()),
        ("SMTP_URL", smtp.url().expose_secret().to_owned()),
    ])
    .await;
    let life = Life::begin(&stack).await;
    let ((), before) =
        beside(sleep(Duration::from_secs(10)), PER_SECOND, |number| life.request(number)).await;

    let connected = connections(&stack).await;
    let alarm = async {
        stack.rabbitmqctl(&["set_vm_memory_high_watermark", "0"]).await;
        let began = Instant::now();
        let acknowledged = async || (waiting(&stack, "audit.events").await == 0).then_some(());
        eventually("what was delivered is acknowledged", ACKNOWLEDGED, acknowledged).await;
        sleep(SHORT_OF_MEMORY.saturating_sub(began.elapsed())).await;
        let (still, unsent) = (connections(&stack).await, ledger::in_outboxes(&stack).await);
        stack.rabbitmqctl(&["set_vm_memory_high_watermark", "absolute", "512MB"]).await;
        (still, unsent)
    };
    let ((still, unsent), during) = beside(alarm, PER_SECOND, |number| life.request(number)).await;
    let over = Instant::now();
    ledger::outboxes_are_empty(&stack, MADE_UP_FOR).await;
    println!(
        "fx_mq_10: short of memory for {SHORT_OF_MEMORY:?}; {} requests; {unsent} messages waited, gone {:.1?} after; \
         {connected} connections before, {still} at the end",
        before.len() + during.len(),
        over.elapsed(),
    );
    all_are_answered(&[before, during].concat());
    assert!(unsent >= 500, "{unsent}: the broker took messages");
    assert!(still <= connected, "{connected} connections became {still}");
    life.is_in_order("fx_mq_10", &stack, &smtp, Duration::from_mins(2)).await;
}

async fn connections(stack: &Stack) -> usize {
    stack.rabbitmqctl(&["list_connections", "--no-table-headers", "name"]).await.lines().count()
}

/// How many messages a queue has, those included that were delivered and not acknowledged.
async fn waiting(stack: &Stack, queue: &str) -> usize {
    let queues = ["list_queues", "--vhost", "feature-auth", "--no-table-headers", "name", "messages"];
    let list = stack.rabbitmqctl(&queues).await;
    let found = list.lines().filter_map(|line| line.split_once('\t')).find(|(name, _)| *name == queue);
    found.unwrap().1.trim().parse().unwrap()
}
