use std::time::Duration;

use e2e::{
    ledger,
    sibling::{Service, Sibling},
    traffic::beside,
};
use rustix::process::Signal;
use soak::{drill::parameter, life::all_are_answered};
use test_support::eventually;
use tokio::time::sleep;

use super::{Platform, SETTLED, chain_is_whole};

/// Twenty times: `make chaos`.
#[tokio::test(flavor = "multi_thread")]
async fn fx_au_02_a_writer_that_is_killed_in_the_middle_of_batches_leaves_a_whole_chain() {
    let kills = parameter("AUDIT_KILLS", 12);
    let Platform { far, smtp, life } = Platform::start().await;
    let stack = &far.stack;
    let strikes = async {
        for kill in 0..kills {
            // Held bytes make one batch of many messages, and the kill follows the first rows of it.
            far.way.hold();
            sleep(Duration::from_millis(700)).await;
            let (before, _) = ledger::audited(stack, "session.refreshed").await;
            far.way.release();
            eventually("a batch is on its way", Duration::from_secs(30), async || {
                let (now, _) = ledger::audited(stack, "session.refreshed").await;
                (now > before).then_some(())
            })
            .await;
            // Another moment each time.
            sleep(Duration::from_millis(kill * 3 % 40)).await;
            stack.replace("AUDIT_SERVICE_PID", "AUDIT_MGMT", Signal::KILL).await;
        }
    };
    let ((), answers) = beside(strikes, 60, |number| life.request(number)).await;
    println!("fx_au_02: {kills} kills, {} requests", answers.len());
    all_are_answered(&answers);
    life.is_in_order("fx_au_02", stack, &smtp, SETTLED).await;
    chain_is_whole(stack);
}

#[tokio::test(flavor = "multi_thread")]
async fn fx_au_03_three_writers_at_once_make_one_chain() {
    let Platform { far, smtp, life } = Platform::start().await;
    let stack = &far.stack;
    let second = Sibling::start(stack, Service::AuditService).await;
    let _third = Sibling::start(stack, Service::AuditService).await;
    let ((), mut answers) = beside(sleep(Duration::from_secs(15)), 80, |number| life.request(number)).await;
    second.end(Signal::KILL);
    let ((), more) = beside(sleep(Duration::from_secs(5)), 80, |number| life.request(number)).await;
    answers.extend(more);
    all_are_answered(&answers);
    life.is_in_order("fx_au_03", stack, &smtp, SETTLED).await;
    let forks =
        stack.sql("SELECT count(*) FROM audit.events GROUP BY class, prev_hash HAVING count(*) > 1").await;
    assert!(forks.is_empty(), "{forks:?}");
    chain_is_whole(stack);
}
