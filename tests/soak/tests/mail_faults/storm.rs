use std::{
    collections::HashMap,
    sync::{Arc, Mutex},
    time::{Duration, Instant},
};

use auth_events::commands::Lane;
use chaos::Proxy;
use rustix::process::Signal;
use secrecy::ExposeSecret;
use soak::{
    drill::parameter,
    orders::{Tally, arrived},
};
use test_support::{
    eventually,
    smtp::{Behaviour, SmtpServer},
};
use tokio::time::sleep;

use super::{LONG, Platform, at_domains};

/// How many mails the mailer has at once at most.
const IN_FLIGHT: usize = 16;
const KILLS: usize = 5;

/// Ten thousand mails: `make chaos`. Thirty of a hundred are put off at first, and thirty of a hundred of these again; the first provider
/// dies half-way, and the mailer five times.
#[tokio::test(flavor = "multi_thread")]
async fn fx_ml_01_a_storm_of_mails_survives_transient_failures_a_dead_provider_and_five_kills() {
    let count: usize = parameter("MAILS", 3_000);
    let (first, second) = (SmtpServer::plain().await, SmtpServer::plain().await);
    let mut way = Proxy::present(&first.url()).await;
    let platform = Platform::with(&[
        ("SMTP_URL", way.url().expose_secret().to_owned()),
        ("SMTP_FALLBACK_URL", second.url().expose_secret().to_owned()),
    ])
    .await;
    // Whichever of the two is asked: a mail that was put off by each of them would wait for ten minutes.
    let attempts: Arc<Mutex<HashMap<String, usize>>> = Arc::default();
    for server in [&first, &second] {
        let attempts = Arc::clone(&attempts);
        server.decide(move |to, _| {
            let mut attempts = attempts.lock().unwrap();
            let attempt = attempts.entry(to.to_owned()).or_default();
            *attempt += 1;
            match (fate(to), *attempt) {
                (0..9, 1 | 2) | (9..30, 1) if fate(to).is_multiple_of(2) => Behaviour::LATER,
                (0..9, 1 | 2) | (9..30, 1) => Behaviour::BUSY,
                _ => Behaviour::Accept,
            }
        });
    }
    let servers = [&first, &second];
    let began = Instant::now();
    let ordered = platform.order(count, at_domains("storm", 40)).await;
    let stack = &platform.far.stack;
    for kill in 1..=KILLS {
        let share = count * kill / (KILLS + 3);
        let far_enough = async || (arrived(&ordered, &servers) >= share).then_some(());
        eventually("mails flow", Duration::from_mins(8), far_enough).await;
        if kill == 3 {
            way.vanish().await;
        }
        stack.replace("MAILER_PID", "MAILER_MGMT", Signal::KILL).await;
    }
    let complete = async || (arrived(&ordered, &servers) == count).then_some(());
    eventually("every mail is there", Duration::from_mins(15), complete).await;
    let took = began.elapsed();
    platform.all_are_known(count, Duration::from_mins(6)).await;
    let tally = Tally::of(&ordered, &[first.mails(), second.mails()].concat());
    println!(
        "storm: {tally}; by {} and {} mails of two providers in {took:.1?}, with {KILLS} kills",
        first.mails().len(),
        second.mails().len()
    );
    assert!(tally.again <= KILLS * IN_FLIGHT, "{tally}");
    assert_eq!(tally.changed, 0, "{tally}");
}

/// A number below 100 that goes with an address.
fn fate(address: &str) -> u32 {
    address.bytes().fold(7_u32, |hash, byte| hash.wrapping_mul(31).wrapping_add(byte.into())) / 8 % 100
}

#[tokio::test(flavor = "multi_thread")]
async fn amq_01_poison_among_mails_delays_none_of_them_by_more_than_a_second() {
    const MAILS: usize = 200;
    let platform = Platform::start().await;
    let mut longest = Vec::new();
    for (poison, name) in [(0, "pure"), (10, "mixed")] {
        let mut ordered = Vec::new();
        for number in 0..MAILS {
            if number % 20 == 0 && poison > 0 {
                platform.orders.poison(Lane::Security, poison).await;
            }
            let address = at_domains(name, 8)(number);
            ordered.extend(platform.orders.mails(Lane::Security, LONG, [address]).await);
            sleep(Duration::from_millis(25)).await;
        }
        let tally = platform.all_arrive(&ordered, Duration::from_mins(1)).await;
        println!("amq_01, {name}: {tally}");
        longest.extend(tally.starts.iter().max().copied());
    }
    let [pure, mixed] = longest.try_into().unwrap();
    assert!(mixed <= pure + Duration::from_secs(1), "{pure:?} became {mixed:?}");
}
