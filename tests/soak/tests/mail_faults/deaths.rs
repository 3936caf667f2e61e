use std::time::Duration;

use chaos::{Cut, Trigger, patterns};
use e2e::sibling::{Service, Sibling};
use rustix::process::Signal;
use soak::{
    drill::parameter,
    orders::{Order, Tally},
};
use test_support::{
    eventually,
    smtp::{Behaviour, SmtpServer, Step},
};
use tokio::time::sleep;

use super::{Platform, REST, at_domains};

/// A mail that was being sent when the mailer died is sent again two minutes later.
const TAKEN_OVER: Duration = Duration::from_mins(4);
/// How many mails the mailer has at once at most.
const IN_FLIGHT: usize = 16;
/// How many mails are ordered before each death.
const MAILS: usize = 12;
const SOON: Duration = Duration::from_mins(1);

/// When it dies.
#[derive(Debug, Clone, Copy)]
enum Phase {
    /// The recipient was named, and nothing sent.
    BeforeSending,
    /// The server has the message and has not said so.
    AfterData,
    /// The server has said so, and the broker was not told.
    BeforeAcknowledging,
}

/// Twenty times in each phase: `make chaos`.
#[tokio::test(flavor = "multi_thread")]
async fn fx_ml_01_a_mailer_that_is_killed_in_any_phase_loses_nothing_and_repeats_what_was_in_flight() {
    let kills: usize = parameter("MAILER_KILLS", 4);
    let platform = Platform::start().await;
    let mut all: Vec<(Phase, Vec<Order>)> = Vec::new();
    // A mail that is taken over may be in flight again when the mailer dies in a later phase. After the last one nothing dies.
    let phases = [
        (Phase::AfterData, "after"),
        (Phase::BeforeAcknowledging, "acknowledging"),
        (Phase::BeforeSending, "before"),
    ];
    let mut count = 0;
    for (phase, name) in phases {
        let mut ordered = Vec::new();
        for kill in 0..kills {
            let (orders, left) = die_in(&platform, phase, name, kill).await;
            ordered.extend(orders);
            count += MAILS;
            // Of one that dies again and again before it gets to its mails the broker parks those that it had. And what the successor
            // sends must not be in flight when it dies, or it is sent twice in any phase.
            let worked_off = async || {
                let begun = platform.count("attempts > 0").await;
                (begun == count && platform.in_state("sending").await <= left).then_some(())
            };
            eventually("the successor has sent what it can", SOON, worked_off).await;
        }
        all.push((phase, ordered));
    }
    for (phase, ordered) in &all {
        platform.all_arrive(ordered, TAKEN_OVER).await;
        let settled = async || (platform.in_state("sending").await == 0).then_some(());
        eventually("every mail is settled", TAKEN_OVER, settled).await;
        let tally = Tally::of(ordered, &platform.smtp.mails());
        println!("fx_ml_01, {kills} kills {phase:?}: {tally}");
        let allowed = match phase {
            Phase::BeforeSending => 0,
            Phase::AfterData | Phase::BeforeAcknowledging => phases.len() * kills * IN_FLIGHT,
        };
        assert!(tally.again <= allowed, "{phase:?}: {tally}");
        assert_eq!(tally.changed, 0, "{phase:?}: {tally}");
    }
}

/// Orders some mails, kills the mailer when the first of them has come to the phase, and waits for its successor. Says also how many it was sending.
async fn die_in(platform: &Platform, phase: Phase, name: &'static str, kill: usize) -> (Vec<Order>, usize) {
    let Platform { smtp, far, .. } = platform;
    let address = |number| at_domains(name, 6)(kill * MAILS + number);
    let before = (smtp.commands().len(), smtp.counts().messages);
    match phase {
        Phase::BeforeSending => stall(smtp, name, Step::RcptTo),
        Phase::AfterData => stall(smtp, name, Step::Message),
        Phase::BeforeAcknowledging => {
            far.way.arm(Trigger::on(patterns::AMQP_ACK).cutting(Cut::Before).times(1));
        }
    }
    let ordered = platform.order(MAILS, address).await;
    eventually("the mailer has come to the phase", SOON, async || match phase {
        Phase::BeforeSending => {
            let commands = smtp.commands();
            commands.iter().skip(before.0).any(|it| it.starts_with("RCPT")).then_some(())
        }
        Phase::AfterData => (smtp.counts().messages > before.1).then_some(()),
        Phase::BeforeAcknowledging => (far.way.counts().triggered > 0).then_some(()),
    })
    .await;
    far.stack.signal("MAILER_PID", Signal::KILL);
    // The successor comes after 0.4 s, and what the dead one had begun in the database is over by then.
    sleep(REST).await;
    let left = platform.in_state("sending").await;
    smtp.behave();
    far.way.disarm();
    let ready = async || far.stack.is_ready("MAILER_MGMT").await.then_some(());
    eventually("the mailer is back", SOON, ready).await;
    (ordered, left)
}

/// Only the mails of this phase: those of an earlier one may be taken over meanwhile.
fn stall(smtp: &SmtpServer, name: &'static str, step: Step) {
    smtp.decide(move |to, _| if to.starts_with(name) { Behaviour::Stall(step) } else { Behaviour::Accept });
}

/// Ten thousand: `make chaos`.
#[tokio::test(flavor = "multi_thread")]
async fn fx_ml_02_three_mailers_send_each_mail_once() {
    let count = parameter("MAILS", 3_000);
    let platform = Platform::start().await;
    let _second = Sibling::start(&platform.far.stack, Service::Mailer).await;
    let _third = Sibling::start(&platform.far.stack, Service::Mailer).await;
    let began = std::time::Instant::now();
    let ordered = platform.order(count, at_domains("many", 40)).await;
    platform.all_arrive(&ordered, Duration::from_mins(10)).await;
    let took = began.elapsed();
    platform.all_are_known(count, SOON).await;
    let tally = Tally::of(&ordered, &platform.smtp.mails());
    println!("fx_ml_02: {tally}; by three mailers in {took:.1?}");
    assert_eq!(tally.again, 0, "{tally}");
}
