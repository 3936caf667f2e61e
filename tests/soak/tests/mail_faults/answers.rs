use std::{collections::BTreeMap, time::Duration};

use auth_events::commands::Lane;
use chrono::TimeDelta;
use e2e::journey;
use mail_parser::MessageParser;
use reqwest::StatusCode;
use serde_json::json;
use soak::{drill::parameter, orders::Tally};
use test_support::{
    eventually,
    smtp::{Answered, Behaviour},
};

use super::{Platform, at_domains};

/// Everything that is put off comes back after ten seconds, and what is put off again after a minute.
const SOON: Duration = Duration::from_mins(2);

#[tokio::test(flavor = "multi_thread")]
async fn fx_sm_03_what_is_put_off_comes_later_what_is_refused_never_and_what_expires_is_given_up() {
    const EACH: usize = 20;
    /// A server that closes again and again is not asked for a while. These are too few for that.
    const CLOSING: usize = 4;
    let platform = Platform::start().await;
    platform.smtp.decide(|to, attempt| match (to.split('-').next(), attempt) {
        (Some("down"), 0) => Behaviour::SHUTTING_DOWN,
        (Some("busy"), 0) => Behaviour::BUSY,
        (Some("disk"), 0) => Behaviour::NO_STORAGE,
        (Some("mailbox"), _) => Behaviour::UNKNOWN,
        (Some("spam"), _) => Behaviour::SPAM,
        (Some("later"), 0) | (Some("never"), _) => Behaviour::LATER,
        _ => Behaviour::Accept,
    });
    let mut put_off = platform.order(CLOSING, at_domains("down", 4)).await;
    for name in ["busy", "later", "disk"] {
        put_off.extend(platform.order(EACH, at_domains(name, 4)).await);
    }
    let mut refused = Vec::new();
    for name in ["mailbox", "spam"] {
        refused.extend(platform.order(EACH, at_domains(name, 4)).await);
    }
    let addresses = (0..EACH).map(at_domains("never", 4));
    let expiring = platform.orders.mails(Lane::Security, TimeDelta::seconds(25), addresses).await;

    let tally = platform.all_arrive(&put_off, SOON).await;
    let ended = async || {
        let (failed, expired) = (platform.in_state("failed").await, platform.in_state("expired").await);
        (failed + expired == refused.len() + expiring.len()).then_some((failed, expired))
    };
    let (failed, expired) = eventually("everything else has its end", SOON, ended).await;
    let commands = platform.smtp.commands();
    let mut named: BTreeMap<&str, usize> = BTreeMap::new();
    for address in commands.iter().filter_map(|command| command.strip_prefix("RCPT TO:<")?.split('>').next())
    {
        *named.entry(address).or_default() += 1;
    }
    let most = named.values().max().copied().unwrap_or_default();
    println!("fx_sm_03: put off: {tally}; {failed} refused, {expired} expired; {most} attempts at most");
    assert_eq!((failed, expired, tally.again), (refused.len(), expiring.len(), 0));
    assert!(
        refused.iter().all(|order| named.get(order.to.as_str()) == Some(&1)),
        "what was refused came again: {named:?}"
    );
    assert!(most <= 4, "{named:?}");
    let delivered = platform.smtp.mails().into_iter().filter(|mail| mail.answered == Answered::Accepted);
    assert_eq!(delivered.count(), put_off.len());
}

/// Two hundred times: `make chaos`.
#[tokio::test(flavor = "multi_thread")]
async fn fx_sm_04_a_mail_whose_answer_was_lost_is_sent_once_more_and_is_the_same() {
    /// Of so many mails the answer to one is lost: more, and the server would not be asked for a while.
    const ONE_IN: usize = 3;
    let faults = parameter("MAIL_RESETS", 100);
    let platform = Platform::start().await;
    platform.smtp.decide(|to, attempt| match attempt {
        0 if to.starts_with("reset-") => Behaviour::RESET_AFTER_DOT,
        _ => Behaviour::Accept,
    });
    let (reset, fine) = (at_domains("reset", 10), at_domains("fine", 10));
    let address = |number: usize| if number.is_multiple_of(ONE_IN) { reset(number) } else { fine(number) };
    let count = faults * ONE_IN;
    let ordered = platform.order(count, address).await;
    platform.all_are_known(count, Duration::from_mins(5)).await;
    let tally = Tally::of(&ordered, &platform.smtp.mails());
    println!("fx_sm_04: {faults} answers lost; {tally}");
    assert!(tally.is_complete());
    assert_eq!((tally.again, tally.changed), (faults, 0));
}

#[tokio::test(flavor = "multi_thread")]
async fn fx_sm_05_a_mail_that_a_server_accepted_and_lost_can_be_asked_for_again() {
    let platform = Platform::start().await;
    let (stack, address) = (&platform.far.stack, "newcomer@example.com");
    platform.smtp.queue([Behaviour::Swallow]);
    let handle = journey::register(stack, address).await;
    let lost = async || platform.smtp.mails_to(address).into_iter().next();
    let lost = eventually("the mail is lost", SOON, lost).await;
    assert_eq!(lost.answered, Answered::Swallowed);
    // As if that had been a minute ago.
    stack.sql("DELETE FROM auth.mail_allowances").await;
    let request = json!({"email": address, "captchaToken": "DUMMY_TOKEN_FOR_TEST"});
    let answer = stack.post("/v1/auth/resend-verification", &request).await;
    assert_eq!(answer.status(), StatusCode::ACCEPTED);
    let again =
        async || platform.smtp.mails_to(address).into_iter().find(|mail| mail.answered == Answered::Accepted);
    let again = eventually("the second mail arrives", SOON, again).await;
    assert_ne!(again.message_id, lost.message_id, "it is another mail");
    let parsed = MessageParser::default().parse(&again.bytes).unwrap();
    let text = parsed.body_text(0).unwrap().into_owned();
    let links: Vec<String> = text.split_whitespace().map(str::to_owned).collect();
    let request = json!({"token": journey::token_of(&links), "registrationHandle": handle});
    assert_eq!(stack.post("/v1/auth/verify-email", &request).await.status(), StatusCode::OK);
    println!("fx_sm_05: lost once, verified by the second mail");
}
