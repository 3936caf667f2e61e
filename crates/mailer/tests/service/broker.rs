//! What the broker delivers, and what of it anybody else may read.

use std::collections::BTreeSet;

use crate::{
    lanes::{Surroundings, poison},
    support::{DEADLINE, Keys, Order, stopped_clock},
};
use auth_events::{
    commands::{Lane, MailParameters, Occasion},
    routing::{MAILER_DEAD_QUEUE, mailer_queue},
};
use chrono::TimeDelta;
use clock::{Clock, SystemClock};
use event_bus::OutgoingMessage;
use test_support::eventually;

impl Surroundings {
    async fn wait_for_dead_letters(&self, count: u64) {
        eventually("the dead letters", DEADLINE, || async {
            (self.broker.queue_length(MAILER_DEAD_QUEUE).await == count).then_some(())
        })
        .await;
    }

    async fn wait_for_empty(&self, lane: Lane) {
        eventually("an empty queue", DEADLINE, || async {
            (self.broker.queue_length(mailer_queue(lane)).await == 0).then_some(())
        })
        .await;
    }
}

fn bad_ones(good: &OutgoingMessage) -> Vec<OutgoingMessage> {
    let truncated: Vec<u8> = good.payload.iter().copied().take(good.payload.len() / 2).collect();
    let mut bad: Vec<OutgoingMessage> = [
        b"".to_vec(),
        b"not JSON".to_vec(),
        b"[1, 2, 3]".to_vec(),
        b"{\"specversion\":\"1.0\"}".to_vec(),
        b"\xff\xfe\x00".to_vec(),
        truncated,
        vec![b'['; 10 * 1024 * 1024],
    ]
    .into_iter()
    .map(|payload| poison(Lane::Security, &payload))
    .collect();
    bad.push(OutgoingMessage {
        message_id: String::new(),
        message_type: String::new(),
        ..poison(Lane::Security, b"not JSON")
    });
    bad
}

#[tokio::test(flavor = "multi_thread")]
async fn amq_01_what_is_malformed_is_dead_at_first_sight_and_delays_no_mail() {
    let it = Surroundings::new().await;
    let mailer = it.start_mailer().await;
    let mut messages = Vec::new();
    let orders: Vec<Order> =
        (0..60).map(|n| Order::verify_email(&format!("user{n}@example{}.test", n % 20))).collect();
    let bad = bad_ones(&orders[0].message(&it.keys.public));
    for (index, order) in orders.iter().enumerate() {
        messages.push(order.message(&it.keys.public));
        messages.extend(bad.get(index / 6).filter(|_| index % 6 == 0).cloned());
    }
    it.publish(messages).await;
    for order in &orders {
        it.mailbox.wait_for(&order.to, DEADLINE).await.unwrap();
    }
    it.wait_for_dead_letters(bad.len().try_into().unwrap()).await;
    let letters = it.bus.dead_letters(MAILER_DEAD_QUEUE, 100).await.unwrap();
    let reasons: BTreeSet<&str> = letters.letters.iter().map(|letter| letter.reason.as_str()).collect();
    assert_eq!(reasons, BTreeSet::from(["not_an_envelope", "too_large"]));
    assert!(letters.letters.iter().all(|it| it.queue.as_deref() == Some("mailer.send.security")));
    // Looking takes nothing away.
    it.wait_for_dead_letters(bad.len().try_into().unwrap()).await;
    Surroundings::stop(mailer).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn eml_01_an_address_that_says_more_than_one_is_parked_and_nobody_gets_anything() {
    let it = Surroundings::new().await;
    let mailer = it.start_mailer().await;
    let addresses = [
        "ada@example.test\r\nRCPT TO:<eve@example.test>",
        "ada@example.test\nBcc: eve@example.test",
        "ada@example.test\rBcc: eve@example.test",
        "ada@example.test\0",
        "ada@example.test\u{85}Bcc: eve@example.test",
        "ada@example.test\u{2028}Bcc: eve@example.test",
        "ada@example.test>\r\nRCPT TO:<eve@example.test",
        "ada@example.test, eve@example.test",
        "=?utf-8?q?ada=0D=0ABcc:_eve?=@example.test <eve@example.test>",
    ];
    let mut messages: Vec<_> =
        addresses.iter().map(|to| Order::verify_email(to).message(&it.keys.public)).collect();
    let count = u64::try_from(messages.len()).unwrap();
    // A name is no address: it is shown as it is, or left out.
    let hostile = "Ada\r\nBcc: eve@example.test\r\n\r\n.\r\nRCPT TO:<eve@example.test>";
    let mut named = Order::verify_email("ada@example.test");
    named.parameters = MailParameters::NewDevice {
        display_name: Some(hostile.to_owned()),
        secure_link: "https://auth.example/secure#token=fat_x".to_owned(),
        occasion: Occasion {
            occurred_at: SystemClock.now(),
            ip: Some(hostile.to_owned()),
            device: Some(hostile.to_owned()),
        },
    };
    messages.push(named.message(&it.keys.public));
    it.publish(messages).await;
    it.mailbox.wait_for("ada@example.test", DEADLINE).await.unwrap();
    it.wait_for_dead_letters(count).await;
    let mails = it.mailbox.messages_to("ada@example.test");
    assert_eq!(mails.len(), 1);
    assert_eq!(mails[0].to, ["ada@example.test"]);
    assert!(it.mailbox.messages_to("eve@example.test").is_empty());
    assert!(!mails[0].text.contains("eve@") && !mails[0].html.contains("eve@"));
    Surroundings::stop(mailer).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn amq_04_a_command_that_comes_a_hundred_times_is_one_mail_even_a_month_later() {
    let it = Surroundings::new().await;
    let clock = stopped_clock();
    let (mailer, _) = it.start(clock.clone()).await;
    let order = Order {
        expires_at: SystemClock.now() + TimeDelta::days(60),
        ..Order::verify_email("ada@example.test")
    };
    it.publish(vec![order.message(&it.keys.public); 100]).await;
    it.mailbox.wait_for("ada@example.test", DEADLINE).await.unwrap();
    it.wait_for_empty(Lane::Security).await;
    clock.advance(TimeDelta::days(29));
    it.publish(vec![order.message(&it.keys.public); 100]).await;
    it.wait_for_empty(Lane::Security).await;
    let other = Order {
        expires_at: SystemClock.now() + TimeDelta::days(60),
        ..Order::verify_email("after@example.test")
    };
    it.publish(vec![other.message(&it.keys.public)]).await;
    it.mailbox.wait_for("after@example.test", DEADLINE).await.unwrap();
    Surroundings::stop(mailer).await;
    assert_eq!(it.mailbox.messages_to("ada@example.test").len(), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn amq_05_mails_that_come_in_another_order_are_all_sent_and_only_the_last_of_a_kind() {
    let it = Surroundings::new().await;
    let now = SystemClock.now();
    let link = |n: i64| Order {
        supersedes: Some("verify_email/ada".to_owned()),
        requested_at: now - TimeDelta::minutes(10 - n),
        parameters: MailParameters::VerifyEmail {
            display_name: None,
            link: format!("https://auth.example/verify-email#token=fat_{n}"),
            expires_in_hours: 24,
        },
        ..Order::verify_email("ada@example.test")
    };
    let changed = Order {
        parameters: MailParameters::PasswordChanged {
            display_name: None,
            secure_link: "https://auth.example/secure#token=fat_s".to_owned(),
            occasion: Occasion { occurred_at: now, ip: None, device: None },
        },
        ..Order::verify_email("bob@example.test")
    };
    // The newest first, and a notice about an account before the mail that begins it.
    let registered =
        Order { requested_at: now - TimeDelta::hours(1), ..Order::verify_email("bob@example.test") };
    let orders = [link(3), link(1), changed, link(2), registered];
    it.publish(orders.iter().map(|order| order.message(&it.keys.public)).collect()).await;
    let mailer = it.start_mailer().await;
    it.wait_for_empty(Lane::Security).await;
    eventually("all mails", DEADLINE, || async {
        (it.mailbox.messages_to("bob@example.test").len() == 2
            && it.mailbox.messages_to("ada@example.test").iter().any(|mail| mail.text.contains("fat_3")))
        .then_some(())
    })
    .await;
    Surroundings::stop(mailer).await;
    let to_ada = it.mailbox.messages_to("ada@example.test");
    // Those that were taken at the same moment may be under way together; each is sent once.
    for link in ["fat_1", "fat_2", "fat_3"] {
        assert!(to_ada.iter().filter(|mail| mail.text.contains(link)).count() <= 1, "{to_ada:?}");
    }
    assert_eq!(it.broker.queue_length(MAILER_DEAD_QUEUE).await, 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn amq_07_who_reads_the_queues_finds_no_link_and_no_token() {
    let it = Surroundings::new().await;
    let mut orders = vec![Order::verify_email("ada@example.test")];
    for lane in [Lane::Notice, Lane::Bulk] {
        orders.push(Order { lane, ..Order::verify_email("ada@example.test") });
    }
    it.publish(orders.iter().map(|order| order.message(&it.keys.public)).collect()).await;
    // And one that nobody can open ends in the dead-letter queue, as sealed as it was.
    let foreign = Order::verify_email("eve@example.test").message(&Keys::new().public);
    let mut dump = String::new();
    for lane in Lane::ALL {
        for message in it.broker.take(mailer_queue(*lane)).await {
            dump += &message.to_string();
        }
    }
    let mailer = it.start_mailer().await;
    it.publish(vec![foreign]).await;
    it.wait_for_dead_letters(1).await;
    for message in it.broker.take(MAILER_DEAD_QUEUE).await {
        dump += &message.to_string();
    }
    Surroundings::stop(mailer).await;
    assert!(dump.contains("verify_email") && dump.matches("sealed").count() == 4, "{dump}");
    for secret in ["fat_", "token", "https://", "verify-email"] {
        assert!(!dump.contains(secret), "{secret}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_the_broker_lost_is_found_by_the_database() {
    let it = Surroundings::new().await;
    let clock = stopped_clock();
    let (mailer, _) = it.start(clock.clone()).await;
    it.mailbox.set_fault(Some(dev_stack::mailbox::SmtpFault::Transient));
    let order = Order::verify_email("ada@example.test");
    it.publish(vec![order.message(&it.keys.public)]).await;
    let delayed = format!("{}.retry.10s", mailer_queue(Lane::Security));
    eventually("the mail to wait", DEADLINE, || async {
        (it.broker.queue_length(&delayed).await == 1).then_some(())
    })
    .await;
    assert_eq!(it.broker.take(&delayed).await.len(), 1, "the broker loses it");
    it.mailbox.set_fault(None);
    Surroundings::stop(mailer).await;
    clock.advance(TimeDelta::minutes(3));
    let (mailer, _) = it.start(clock.clone()).await;
    it.mailbox.wait_for("ada@example.test", DEADLINE).await.unwrap();
    Surroundings::stop(mailer).await;
}
