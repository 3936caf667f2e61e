use std::time::{Duration, Instant};

use e2e::{
    ledger,
    traffic::{beside, problems},
};
use soak::{
    drill::parameter,
    life::{Wish, all_are_answered, latencies},
};
use tokio::time::sleep;

use super::Platform;

const PER_SECOND: u32 = 60;
const NORMAL: Duration = Duration::from_secs(30);
/// The longest pause between two attempts to reach the broker, and what follows.
const RECONNECTED: Duration = Duration::from_secs(15);
/// What comes while the rest goes.
const NEARLY_EMPTY: usize = 30;
const SESSIONS: [&str; 1] = ["session"];
/// What a tenth more is not measured to: so much do two half minutes differ with nothing else going on.
const MOOD: Duration = Duration::from_millis(1);
/// A shorter absence is made up for in seconds, and in the first of them everybody connects anew.
const LONG: Duration = Duration::from_mins(5);

/// Ten minutes of it: `make chaos`.
#[tokio::test(flavor = "multi_thread")]
async fn fx_mq_02_a_long_absence_of_the_broker_is_made_up_for_while_users_notice_nothing() {
    let away = Duration::from_secs(parameter("BROKER_AWAY_SECONDS", 60));
    let Platform { mut far, smtp, life } = Platform::start().await;
    let ((), before) = beside(sleep(NORMAL), PER_SECOND, |number| life.request(number)).await;
    far.is_idle().await;

    far.way.vanish().await;
    let ((), during) = beside(sleep(away), PER_SECOND, |number| life.request(number)).await;
    let waiting = ledger::in_outboxes(&far.stack).await;
    let refreshes = ledger::in_outboxes_of(&far.stack, &SESSIONS).await;

    let patience = away + Duration::from_mins(2);
    let drain = async {
        let back = Instant::now();
        far.way.appear().await;
        // Each service finds the broker in its own time; session-service has most to bring.
        let left = ledger::outboxes_have_at_most(&far.stack, &SESSIONS, refreshes - 1, RECONNECTED).await;
        let (reconnected, began) = (back.elapsed(), Instant::now());
        ledger::outboxes_have_at_most(&far.stack, &SESSIONS, NEARLY_EMPTY, patience).await;
        let took = began.elapsed();
        ledger::outboxes_have_at_most(&far.stack, &ledger::SENDERS, NEARLY_EMPTY, patience).await;
        (reconnected, f64::from(u32::try_from(left).unwrap()) / took.as_secs_f64())
    };
    let ((reconnected, rate), draining) = beside(drain, PER_SECOND, |number| life.request(number)).await;
    far.is_idle().await;
    let ((), after) = beside(sleep(NORMAL), PER_SECOND, |number| life.request(number)).await;

    let all: Vec<_> = [&before, &during, &draining, &after].into_iter().flatten().cloned().collect();
    println!(
        "fx_mq_02: away for {away:?}; {} requests, {} failed; {waiting} messages waited; the first were gone after {reconnected:.1?}, \
         those of session-service at {rate:.0} a second",
        all.len(),
        problems(&all).len(),
    );
    // The machine has moods, so what is usual is seen on both sides.
    let usual = [before, after].concat();
    let phases =
        [("usual", &usual), ("without the broker", &during), ("while it was made up for", &draining)];
    for (phase, answers) in phases {
        let of = |wish| latencies(answers.iter().filter(|answer| Wish::of(answer.number) == wish));
        let each = Wish::ALL.map(|wish| format!("{wish:?} {:.1?}", of(wish)));
        println!("fx_mq_02: median and p95 {:.1?} {phase}; {}", latencies(answers), each.join(", "));
    }
    all_are_answered(&all);
    assert!(rate >= 500.0, "{rate:.0} messages a second");
    let (median, p95) = latencies(&usual);
    let judged = if away >= LONG { 2 } else { 1 };
    for (phase, answers) in phases.into_iter().skip(1).take(judged) {
        let (median_then, p95_then) = latencies(answers);
        assert!(
            median_then <= median + median / 10 + MOOD,
            "median {median:?} became {median_then:?} {phase}"
        );
        assert!(p95_then <= p95 + p95 / 10 + MOOD, "p95 {p95:?} became {p95_then:?} {phase}");
    }
    life.is_in_order("fx_mq_02", &far.stack, &smtp, Duration::from_mins(2)).await;
}
