use std::time::Duration;

use auth_events::commands::Lane;
use soak::orders::Order;
use test_support::smtp::{Behaviour, Step};
use tokio::time::{MissedTickBehavior, interval};

use super::{LONG, Platform};

const DOMAINS: usize = 8;
const PER_SECOND: usize = 10;
/// As many connections as the mailer opens, for each of the mails that it may have at once.
const CONNECTIONS: usize = 16;

#[tokio::test(flavor = "multi_thread")]
async fn fx_sm_02_hosts_that_are_slow_or_mute_do_not_hold_up_the_others() {
    let platform = Platform::start().await;
    let normal = order_for(&platform, 15, "normal").await;
    let tally = platform.all_arrive(&normal, Duration::from_secs(30)).await;
    println!("fx_sm_02, all hosts well: {tally}");
    assert!(tally.start_p95() < Duration::from_secs(2), "{tally}");

    for (name, fault) in
        [("slow", Behaviour::Slow(Duration::from_secs(5))), ("mute", Behaviour::Stall(Step::RcptTo))]
    {
        platform.smtp.decide(
            move |to, _| {
                if to.contains("@bad") { fault.clone() } else { Behaviour::Accept }
            },
        );
        let ordered = order_for(&platform, 30, name).await;
        let good: Vec<Order> = ordered.iter().filter(|order| !order.to.contains("@bad")).cloned().collect();
        let tally = platform.all_arrive(&good, Duration::from_mins(1)).await;
        let counts = platform.smtp.counts();
        println!(
            "fx_sm_02, half the hosts {name}: {tally} to the others; {} connections at most",
            counts.most_open
        );
        assert!(tally.start_p95() < Duration::from_secs(30), "{tally}");
        assert!(counts.most_open <= CONNECTIONS, "{}", counts.most_open);
        platform.smtp.behave();
        let tally = platform.all_arrive(&ordered, Duration::from_mins(4)).await;
        println!("fx_sm_02, {name} hosts well again: {tally}");
        assert_eq!(tally.again, 0);
    }
}

/// Ten mails a second, each second one to a host that may be bad.
async fn order_for(platform: &Platform, seconds: usize, name: &str) -> Vec<Order> {
    let mut ticks = interval(Duration::from_millis(1_000 / u64::try_from(PER_SECOND).unwrap()));
    ticks.set_missed_tick_behavior(MissedTickBehavior::Burst);
    let mut ordered = Vec::new();
    for number in 0..seconds * PER_SECOND {
        ticks.tick().await;
        let host = if number % 2 == 0 { "good" } else { "bad" };
        let address = format!("{name}-{number}@{host}-{}.example", number % DOMAINS);
        ordered.extend(platform.orders.mails(Lane::Security, LONG, [address]).await);
    }
    ordered
}
