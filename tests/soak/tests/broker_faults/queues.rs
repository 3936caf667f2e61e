use std::time::Duration;

use e2e::{ledger, traffic::beside};
use soak::life::all_are_answered;
use tokio::time::sleep;

use super::Platform;

/// A message that no queue would receive rests for up to half a minute.
const HEALED: Duration = Duration::from_mins(2);

#[tokio::test(flavor = "multi_thread")]
async fn fx_mq_06_messages_without_a_queue_stay_in_the_outbox_until_there_is_one_again() {
    let Platform { far, smtp, life } = Platform::start().await;
    let stack = &far.stack;
    // The way to the queue is gone. Whoever publishes is told so, and keeps what it has.
    let unbound = async {
        far.broker.unbind("auth.events", "audit.events").await;
        sleep(Duration::from_secs(8)).await;
        let waiting = ledger::in_outboxes(stack).await;
        // The next connection brings the topology along.
        far.way.reset();
        waiting
    };
    let (waiting, mut answers) = beside(unbound, 30, |number| life.request(number)).await;
    assert!(waiting >= 100, "{waiting} wait");
    ledger::outboxes_are_empty(stack, HEALED).await;
    far.is_idle().await;
    // The queue itself is gone, and was empty. Its consumer is told, and declares it.
    let deleted = async {
        far.broker.delete_queue("audit.events").await;
        sleep(Duration::from_secs(8)).await;
    };
    let ((), more) = beside(deleted, 30, |number| life.request(number)).await;
    answers.extend(more);
    ledger::outboxes_are_empty(stack, HEALED).await;
    println!("fx_mq_06: {waiting} messages waited for a binding; {} requests", answers.len());
    all_are_answered(&answers);
    life.is_in_order("fx_mq_06", stack, &smtp, HEALED).await;
}
