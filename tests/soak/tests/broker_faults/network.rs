use std::time::{Duration, Instant};

use chaos::{Faults, Trigger, patterns};
use e2e::{ledger, traffic::beside};
use soak::{drill::parameter, life::all_are_answered, memory::resident_mib};
use test_support::eventually;
use tokio::time::sleep;

use super::Platform;

/// A thousand times: `make chaos`.
#[tokio::test(flavor = "multi_thread")]
async fn fx_mq_04_connections_that_break_between_publish_and_confirm_lose_nothing_and_repeat_nothing() {
    let resets = parameter("BROKER_RESETS", 80);
    let Platform { far, smtp, life } = Platform::start().await;
    far.way.arm(Trigger::on(patterns::AMQP_PUBLISH).every(20).times(resets));
    let until_all = eventually(
        "all connections broke",
        Duration::from_mins(1) + Duration::from_secs(3) * u32::try_from(resets).unwrap(),
        async || (far.way.counts().triggered == resets).then_some(()),
    );
    let ((), answers) = beside(until_all, 60, |number| life.request(number)).await;
    let counts = far.way.counts();
    println!(
        "fx_mq_04: {resets} resets on {} connections; {} messages were published for {} requests",
        counts.connections,
        counts.sights,
        answers.len()
    );
    all_are_answered(&answers);
    life.is_in_order("fx_mq_04", &far.stack, &smtp, Duration::from_mins(2)).await;
}

/// Two relays, each with one batch on its way.
#[tokio::test(flavor = "multi_thread")]
async fn fx_mq_07_a_broker_that_confirms_after_five_seconds_gets_little_at_a_time_and_all_of_it() {
    const SLOW: Duration = Duration::from_secs(5);
    const BATCHES: Duration = Duration::from_secs(30);
    const IN_FLIGHT: usize = 256;
    let Platform { far, smtp, life } = Platform::start().await;
    let ((), _) = beside(sleep(Duration::from_secs(5)), 40, |number| life.request(number)).await;
    let services = ["AUTH_API_PID", "SESSION_SERVICE_PID"].map(|pid| far.stack.variable(pid));
    let memory = || services.iter().map(|pid| resident_mib(pid)).sum::<u64>();
    let before = memory();
    // Only counts.
    far.way.arm(Trigger::on(patterns::AMQP_PUBLISH).times(0));
    let (audited_before, _) = ledger::audited(&far.stack, "session.refreshed").await;
    far.way.suffer(Faults::slow_answers(SLOW));
    let ((), answers) = beside(sleep(BATCHES), 40, |number| life.request(number)).await;
    let (published, after) = (far.way.counts().sights, memory());
    let (audited, _) = ledger::audited(&far.stack, "session.refreshed").await;
    far.way.recover();
    let audited = audited - audited_before;
    println!(
        "fx_mq_07: {published} messages published and {audited} recorded in {BATCHES:?}, of {} requests; {before} MiB became {after} MiB",
        answers.len()
    );
    all_are_answered(&answers);
    // A round trip cannot be shorter than the answers are slow.
    let rounds = usize::try_from(BATCHES.as_secs() / SLOW.as_secs() + 1).unwrap();
    assert!(published <= IN_FLIGHT * rounds, "{published} in {rounds} round trips");
    assert!(audited > 0, "it goes on");
    assert!(after <= before + 32, "{before} MiB grew to {after} MiB");
    life.is_in_order("fx_mq_07", &far.stack, &smtp, Duration::from_mins(2)).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn fx_mq_08_connections_that_say_nothing_any_more_are_replaced_within_twenty_seconds() {
    const NOTICED: Duration = Duration::from_secs(20);
    /// A new connection, the topology, and the first messages.
    const RECONNECTED: Duration = Duration::from_secs(5);
    let Platform { far, smtp, life } = Platform::start().await;
    let silence = async {
        sleep(Duration::from_secs(3)).await;
        let (began, old) = (Instant::now(), far.way.counts().connections);
        far.way.fall_silent();
        far.way.talk_again();
        let (recorded, _) = ledger::audited(&far.stack, "session.refreshed").await;
        // auth-api, session-service, mailer and audit-service have at least one each.
        let all_new = async || (far.way.counts().connections >= old + 4).then_some(began.elapsed());
        let reconnected = eventually("all are connected anew", NOTICED * 2, all_new).await;
        let again = eventually("facts arrive again", NOTICED * 2, async || {
            sleep(Duration::from_millis(250)).await;
            let (now, _) = ledger::audited(&far.stack, "session.refreshed").await;
            (now > recorded + 100).then_some(began.elapsed())
        })
        .await;
        (reconnected, again)
    };
    let ((reconnected, again), answers) = beside(silence, 40, |number| life.request(number)).await;
    println!(
        "fx_mq_08: all connections replaced after {reconnected:.1?}, facts recorded again after {again:.1?}"
    );
    all_are_answered(&answers);
    assert!(reconnected <= NOTICED + RECONNECTED, "{reconnected:?}");
    life.is_in_order("fx_mq_08", &far.stack, &smtp, Duration::from_mins(2)).await;
}
