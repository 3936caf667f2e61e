//! What mail servers do with mails, and what becomes of those.

use std::{sync::Arc, time::Duration};

use crate::support::{Keys, Order, database, postman_with, smtp_provider, stopped_clock};
use chrono::TimeDelta;
use clock::{Clock, ManualClock};
use diesel::{QueryableByName, sql_query, sql_types::Text};
use diesel_async::RunQueryDsl;
use mailer::{
    app::{
        deliver::{Delivery, Postman},
        get_message::get_message,
    },
    domain::{
        message::{Message, MessageState},
        provider::ProviderName,
    },
    mail::{
        providers::{ProviderSettings, Providers},
        smtp_server,
    },
    metrics::Metrics,
};
use prometheus::{Registry, TextEncoder};
use test_support::{
    TestDatabase, eventually,
    smtp::{Answered, Behaviour, Certificate, Security, SmtpServer, Step, ca_pem},
};

const ADA: &str = "ada@example.test";
const DEADLINE: Duration = Duration::from_secs(20);

struct Surroundings {
    /// Dropped after what uses it.
    _database: TestDatabase,
    clock: Arc<ManualClock>,
    keys: Keys,
    postman: Postman,
}

impl Surroundings {
    async fn new(servers: &[&SmtpServer]) -> Self {
        use secrecy::ExposeSecret;
        let names = ProviderName::ALL.iter().copied();
        let providers = names.zip(servers).map(|(name, it)| smtp_provider(name, it.url().expose_secret()));
        Self::with(providers.collect()).await
    }

    async fn with(providers: Vec<ProviderSettings>) -> Self {
        let (database, clock) = (database().await, stopped_clock());
        let postman = postman_with(database.database("test"), providers, clock.clone());
        Self { _database: database, clock, keys: Keys::new(), postman }
    }

    async fn deliver(&self, order: &Order) -> Delivery {
        self.postman.deliver(&order.command(&self.keys)).await.unwrap()
    }

    async fn message(&self, order: &Order) -> Message {
        get_message(&self.postman.database, order.id).await.unwrap().0
    }

    async fn state(&self, order: &Order) -> MessageState {
        self.message(order).await.state.unwrap()
    }

    /// State, attempt, provider and the code of the reply, of each transition.
    async fn history(&self, order: &Order) -> Vec<String> {
        let (_, history) = get_message(&self.postman.database, order.id).await.unwrap();
        let line = |it: mailer::domain::message::Transition| {
            let reply = it.reply.map(|reply| reply.chars().take(3).collect::<String>());
            let state = it.state.map_or("?", MessageState::name).to_owned();
            let parts = [Some(state), Some(it.attempt.to_string()), it.provider, reply];
            parts.into_iter().flatten().collect::<Vec<_>>().join(" ")
        };
        history.into_iter().map(line).collect()
    }
}

fn is_again(delivery: Delivery) -> bool {
    matches!(delivery, Delivery::Again(_))
}

#[tokio::test]
async fn answers_that_may_change_defer_and_those_that_do_not_are_final() {
    let server = SmtpServer::plain().await;
    let it = Surroundings::new(&[&server]).await;
    for (index, (behaviour, state)) in [
        (Behaviour::SHUTTING_DOWN, MessageState::Deferred),
        (Behaviour::BUSY, MessageState::Deferred),
        (Behaviour::LATER, MessageState::Deferred),
        (Behaviour::NO_STORAGE, MessageState::Deferred),
        (Behaviour::FULL, MessageState::Deferred),
        (Behaviour::UNKNOWN, MessageState::Failed),
        (Behaviour::SPAM, MessageState::Failed),
        (Behaviour::Answer(Step::Message, "552 5.3.4 Message too big"), MessageState::Failed),
        (Behaviour::Answer(Step::Message, "554 5.6.0 Content"), MessageState::Failed),
    ]
    .into_iter()
    .enumerate()
    {
        let to = format!("user{index}@example.test");
        server.for_recipient(&to, behaviour.clone());
        let order = Order::verify_email(&to);
        it.deliver(&order).await;
        assert_eq!(it.state(&order).await, state, "{behaviour:?}");
    }
}

#[tokio::test]
async fn a_provider_that_is_not_there_is_passed_over_within_one_attempt() {
    let (first, second) = (SmtpServer::plain().await, SmtpServer::plain().await);
    let it = Surroundings::new(&[&first, &second]).await;
    first.by_default(Behaviour::SHUTTING_DOWN);
    let order = Order::verify_email(ADA);
    assert_eq!(it.deliver(&order).await, Delivery::Over);
    assert_eq!(
        it.history(&order).await,
        ["queued 0", "sending 1", "sending 1 smtp 421", "sent 1 smtp_fallback 250"]
    );
    assert_eq!(it.message(&order).await.provider.as_deref(), Some("smtp_fallback"));
    assert_eq!((first.mails_to(ADA).len(), second.mails_to(ADA).len()), (0, 1));

    // What is about the mail is not asked about elsewhere.
    first.by_default(Behaviour::UNKNOWN);
    let refused = Order::verify_email("nobody@example.test");
    it.deliver(&refused).await;
    assert_eq!(it.history(&refused).await, ["queued 0", "sending 1", "failed 1 smtp 550"]);
    assert!(second.mails_to("nobody@example.test").is_empty());
}

#[tokio::test]
async fn a_provider_that_fails_again_and_again_is_not_asked_for_a_while() {
    let (first, second) = (SmtpServer::plain().await, SmtpServer::plain().await);
    let it = Surroundings::new(&[&first, &second]).await;
    first.by_default(Behaviour::Answer(Step::MailFrom, "421 4.3.2 Down for maintenance"));
    for n in 0..8 {
        assert_eq!(it.deliver(&Order::verify_email(&format!("user{n}@example.test"))).await, Delivery::Over);
    }
    let asked = first.commands().iter().filter(|command| command.starts_with("MAIL")).count();
    assert_eq!((asked, second.mails().len()), (5, 8), "after five failures it is open");
    let reports = it.postman.providers.report();
    assert!(matches!(reports[0].breaker, mailer::domain::breaker::BreakerState::Open { .. }), "{reports:?}");
    assert!(reports[0].last_error.as_ref().unwrap().1.starts_with("421"), "{reports:?}");

    first.behave();
    it.clock.advance(TimeDelta::seconds(10));
    let order = Order::verify_email(ADA);
    assert_eq!(it.deliver(&order).await, Delivery::Over);
    assert_eq!(it.message(&order).await.provider.as_deref(), Some("smtp"), "one mail tries, and it is back");
}

#[tokio::test]
async fn the_metrics_tell_what_a_breaker_is_like_now() {
    use secrecy::ExposeSecret;
    let server = SmtpServer::plain().await;
    let mut it = Surroundings::new(&[&server]).await;
    let registry = Registry::new();
    let metrics = Metrics::register(&registry).unwrap();
    let provider = smtp_provider(ProviderName::Smtp, server.url().expose_secret());
    it.postman.providers = Providers::new(vec![provider], DEADLINE, it.clock.clone(), metrics).unwrap();
    let shown = || {
        let text = TextEncoder::new().encode_to_string(&registry.gather()).unwrap();
        let line = text.lines().find(|line| line.starts_with("email_provider_breaker_state{")).unwrap();
        line.rsplit(' ').next().unwrap().to_owned()
    };
    assert_eq!(shown(), "0");
    let down = Behaviour::Answer(Step::MailFrom, "421 4.3.2 Down for maintenance");
    server.by_default(down.clone());
    for n in 0..5 {
        assert!(is_again(it.deliver(&Order::verify_email(&format!("user{n}@example.test"))).await));
    }
    assert_eq!(shown(), "2");

    it.clock.advance(TimeDelta::seconds(10));
    server.by_default(Behaviour::Stall(Step::RcptTo));
    let trial = Order::verify_email(ADA);
    let half_open =
        eventually("the trial to be shown", DEADLINE, || async { (shown() == "1").then_some(()) });
    tokio::select! {
        delivery = it.deliver(&trial) => panic!("it ended by itself: {delivery:?}"),
        () = half_open => {}
    }

    // The trial is lost, and the next one fails.
    it.clock.advance(TimeDelta::seconds(61));
    server.by_default(down);
    assert!(is_again(it.deliver(&Order::verify_email("bob@example.test")).await));
    assert_eq!(shown(), "2");
    it.clock.advance(TimeDelta::seconds(20));
    it.postman.providers.show_breakers();
    assert_eq!(shown(), "1", "the pause is over, and nobody asked yet");
    server.behave();
    assert_eq!(it.deliver(&Order::verify_email("eve@example.test")).await, Delivery::Over);
    assert_eq!(shown(), "0");
}

#[tokio::test]
async fn while_nobody_may_be_asked_mails_wait_and_no_attempt_is_counted() {
    let server = SmtpServer::plain().await;
    let it = Surroundings::new(&[&server]).await;
    server.by_default(Behaviour::Answer(Step::MailFrom, "421 4.3.2 Down for maintenance"));
    for n in 0..5 {
        assert!(is_again(it.deliver(&Order::verify_email(&format!("user{n}@example.test"))).await));
    }
    let order = Order::verify_email(ADA);
    assert_eq!(it.deliver(&order).await, Delivery::Halted);
    assert_eq!((it.state(&order).await, it.message(&order).await.attempts), (MessageState::Queued, 0));
    server.behave();
    it.clock.advance(TimeDelta::seconds(10));
    assert_eq!(it.deliver(&order).await, Delivery::Over);
    assert_eq!(it.history(&order).await, ["queued 0", "sending 1", "sent 1 smtp 250"]);
}

#[tokio::test]
async fn one_of_many_mails_tries_whether_a_provider_is_back_and_for_the_others_that_is_no_setback() {
    let server = SmtpServer::plain().await;
    let it = Surroundings::new(&[&server]).await;
    let orders: Vec<Order> = (0..5).map(|n| Order::verify_email(&format!("user{n}@example.test"))).collect();
    server.by_default(Behaviour::Answer(Step::MailFrom, "421 4.3.2 Down for maintenance"));
    for order in &orders {
        assert!(is_again(it.deliver(order).await));
    }
    it.clock.advance(TimeDelta::seconds(10));
    let outcomes = futures::future::join_all(orders.iter().map(|order| it.deliver(order))).await;
    assert_eq!(outcomes.iter().filter(|it| is_again(**it)).count(), 1, "{outcomes:?}");
    assert_eq!(outcomes.iter().filter(|it| **it == Delivery::Halted).count(), 4, "{outcomes:?}");

    // What is put off now is put off for the second time, but for the one that tried: for a minute, and not for ten.
    server.by_default(Behaviour::BUSY);
    it.clock.advance(TimeDelta::minutes(2));
    let mut pauses = Vec::new();
    for order in &orders {
        match it.deliver(order).await {
            Delivery::Again(pause) => pauses.push(pause),
            other => panic!("{other:?}"),
        }
    }
    assert_eq!(pauses.iter().filter(|pause| **pause <= Duration::from_mins(1)).count(), 4, "{pauses:?}");
}

#[tokio::test]
async fn eml_06_a_lost_answer_is_asked_for_once_more_with_the_same_message_id() {
    let (server, other) = (SmtpServer::plain().await, SmtpServer::plain().await);
    let it = Surroundings::new(&[&server, &other]).await;
    let (lucky, unlucky) = (Order::verify_email(ADA), Order::verify_email("bob@example.test"));
    server.queue([Behaviour::RESET_AFTER_DOT]);
    assert!(is_again(it.deliver(&lucky).await));
    it.clock.advance(TimeDelta::seconds(10));
    assert_eq!(it.deliver(&lucky).await, Delivery::Over);
    assert_eq!(it.state(&lucky).await, MessageState::Sent);
    let mails = server.mails_to(ADA);
    assert_eq!(mails.len(), 2, "one more for the crash, and no more");
    assert_eq!(mails[0].message_id, Some(format!("{}@auth.example", lucky.id)));
    assert_eq!(mails[0].message_id, mails[1].message_id);
    assert_eq!(
        mails[0].text().split_once("\r\n\r\n").unwrap().1.len(),
        mails[1].text().split_once("\r\n\r\n").unwrap().1.len()
    );

    server.for_recipient(&unlucky.to, Behaviour::RESET_AFTER_DOT);
    assert!(is_again(it.deliver(&unlucky).await));
    it.clock.advance(TimeDelta::seconds(10));
    assert_eq!(it.deliver(&unlucky).await, Delivery::Over);
    let message = it.message(&unlucky).await;
    assert_eq!((message.state, message.failure.as_deref()), (Some(MessageState::Failed), Some("ambiguous")));
    assert_eq!(server.mails_to(&unlucky.to).len(), 2);
    assert!(other.mails().is_empty(), "nobody else is asked about what may have been taken");
}

#[tokio::test]
async fn eml_08_without_encryption_or_with_the_wrong_certificate_nothing_is_said_and_the_mail_is_kept() {
    use secrecy::ExposeSecret;
    test_support::install_crypto_provider();
    let trusting = |url: &str| {
        let server: smtp_server::SmtpServer = url.parse().unwrap();
        ProviderSettings::Smtp(ProviderName::Smtp, server.trusting(ca_pem().as_bytes()).unwrap())
    };
    for security in [
        Security::Plain,
        Security::StartTls(Certificate::OtherHost),
        Security::StartTls(Certificate::SelfSigned),
        Security::StartTls(Certificate::Expired),
        Security::Tls(Certificate::OtherHost),
    ] {
        let server = SmtpServer::with_login(security, "user", "hush").await;
        let mut url = server.url().expose_secret().to_owned();
        if security == Security::Plain {
            url += "?tls=required";
        }
        let it = Surroundings::with(vec![trusting(&url)]).await;
        let order = Order::verify_email(ADA);
        assert!(is_again(it.deliver(&order).await), "{security:?}");
        assert_eq!(it.state(&order).await, MessageState::Deferred, "{security:?}");
        let commands = server.commands();
        assert!(!commands.iter().any(|it| it.starts_with("AUTH") || it.starts_with("MAIL")), "{commands:?}");
        assert!(server.mails().is_empty());
    }
    for security in [Security::StartTls(Certificate::Good), Security::Tls(Certificate::Good)] {
        let server = SmtpServer::with_login(security, "user", "hush").await;
        let it = Surroundings::with(vec![trusting(server.url().expose_secret())]).await;
        assert_eq!(it.deliver(&Order::verify_email(ADA)).await, Delivery::Over);
        let mails = server.mails_to(ADA);
        assert!(mails[0].encrypted && mails[0].user.as_deref() == Some("user"), "{mails:?}");
    }
    // Answers to everything that will be asked, from somebody on the way who cannot read the rest.
    let server = SmtpServer::start(Security::StartTls(Certificate::Good)).await;
    server.queue([Behaviour::Inject("250 hello\r\n250 OK\r\n250 OK\r\n354 Go ahead\r\n250 Queued")]);
    let it = Surroundings::with(vec![trusting(server.url().expose_secret())]).await;
    let order = Order::verify_email(ADA);
    assert!(is_again(it.deliver(&order).await));
    assert_eq!(it.state(&order).await, MessageState::Deferred);
    it.clock.advance(TimeDelta::hours(1));
    assert_eq!(it.deliver(&order).await, Delivery::Over);
    assert_eq!(server.mails_to(ADA).len(), 1);
}

#[tokio::test]
async fn a_later_mail_of_the_same_kind_takes_the_place_of_those_that_wait() {
    let server = SmtpServer::plain().await;
    let it = Surroundings::new(&[&server]).await;
    let now = it.clock.now();
    let of_kind = |minutes: i64| Order {
        supersedes: Some("verify_email/ada".to_owned()),
        requested_at: now - TimeDelta::minutes(minutes),
        ..Order::verify_email(ADA)
    };
    let (old, newer, newest) = (of_kind(3), of_kind(2), of_kind(1));
    let other = Order::verify_email(ADA);
    server.queue([Behaviour::BUSY, Behaviour::BUSY]);
    assert!(is_again(it.deliver(&old).await));
    assert!(is_again(it.deliver(&other).await));
    assert_eq!(it.deliver(&newest).await, Delivery::Over);
    assert_eq!(it.state(&old).await, MessageState::Superseded);
    // It comes late, and is obsolete already.
    assert_eq!(it.deliver(&newer).await, Delivery::Over);
    assert_eq!(it.history(&newer).await, ["queued 0", "superseded 0"]);
    it.clock.advance(TimeDelta::minutes(1));
    for order in [&old, &other] {
        it.deliver(order).await;
    }
    assert_eq!(it.state(&other).await, MessageState::Sent, "it is of no kind");
    let sent: Vec<_> = server.mails().into_iter().filter(|it| it.answered == Answered::Accepted).collect();
    assert_eq!(sent.len(), 2);
    assert!(!it.message(&old).await.has_command);
}

#[tokio::test]
async fn fc_05_what_is_under_way_when_the_mailer_is_stopped_is_put_back_or_finished() {
    let server = SmtpServer::plain().await;
    let it = Surroundings::new(&[&server]).await;
    let (stalled, nearly_done) = (Order::verify_email("stalled@example.test"), Order::verify_email(ADA));
    server.for_recipient(&stalled.to, Behaviour::Stall(Step::RcptTo));
    server.for_recipient(ADA, Behaviour::Slow(Duration::from_millis(700)));
    let stop = async {
        eventually("both to be under way", DEADLINE, || async {
            let named = server.commands().iter().filter(|it| it.starts_with("RCPT")).count();
            // The one is kept as soon as it is whole, and the answer to it takes a while.
            (named == 2 && server.mails_to(ADA).len() == 1).then_some(())
        })
        .await;
        it.postman.stop.cancel();
    };
    let (put_back, done, ()) = tokio::join!(it.deliver(&stalled), it.deliver(&nearly_done), stop);
    assert_eq!(put_back, Delivery::Halted);
    assert_eq!(done, Delivery::Over);
    assert_eq!(it.state(&nearly_done).await, MessageState::Sent);
    assert_eq!(server.mails_to(ADA).len(), 1);
    let message = it.message(&stalled).await;
    assert_eq!((message.state, message.retry_at), (Some(MessageState::Deferred), Some(message.updated_at)));
    // Nothing new is begun.
    assert_eq!(it.deliver(&stalled).await, Delivery::Halted);
}

#[tokio::test]
async fn amq_03_a_mail_at_which_five_workers_died_is_given_up_until_an_operator_wants_it() {
    let server = SmtpServer::plain().await;
    let it = Surroundings::new(&[&server]).await;
    let order = Order::verify_email(ADA);
    server.by_default(Behaviour::Stall(Step::RcptTo));
    for death in 1..=5 {
        let being_sent = eventually("the recipient to be named", DEADLINE, || async {
            let named = server.commands().iter().filter(|it| it.starts_with("RCPT")).count();
            (named == death).then_some(())
        });
        tokio::select! {
            delivery = it.deliver(&order) => panic!("it ended by itself: {delivery:?}"),
            () = being_sent => {}
        }
        it.clock.advance(TimeDelta::seconds(121));
    }
    server.behave();
    assert_eq!(it.deliver(&order).await, Delivery::Over);
    let message = it.message(&order).await;
    assert_eq!((message.state, message.failure.as_deref()), (Some(MessageState::Failed), Some("crashed")));
    assert!(server.mails().is_empty() && message.is_retryable(it.clock.now()));
}

#[tokio::test]
async fn a_slow_domain_does_not_occupy_all_workers() {
    let server = SmtpServer::plain().await;
    let it = Surroundings::new(&[&server]).await;
    server.for_domain("slow.test", Behaviour::Stall(Step::RcptTo));
    let slow: Vec<Order> = (0..12).map(|n| Order::verify_email(&format!("user{n}@slow.test"))).collect();
    let stalled = futures::future::join_all(slow.iter().map(|order| it.deliver(order)));
    let outcomes = stalled.await;
    let put_aside = outcomes.iter().filter(|it| matches!(it, Delivery::NotNow(_))).count();
    assert_eq!((put_aside, server.most_at_once("slow.test")), (6, 6), "{outcomes:?}");
}

#[tokio::test]
async fn postgres_knows_the_same_moves_as_we_do() {
    #[derive(QueryableByName)]
    struct Row {
        #[diesel(sql_type = Text)]
        verdict: String,
    }
    let database = database().await;
    let mut conn = database.admin().connection().await.unwrap();
    for from in MessageState::ALL {
        for to in MessageState::ALL.iter().filter(|to| *to != from) {
            let (from_name, to_name) = (from.name(), to.name());
            // Every state with what it needs to have, tried and undone.
            let set = |state: &str| {
                format!(
                    "state = '{state}', \
                     claimed_at = CASE WHEN '{state}' = 'sending' THEN now() END, \
                     retry_at = CASE WHEN '{state}' = 'deferred' THEN now() END, \
                     sent_at = CASE WHEN '{state}' = 'sent' THEN now() END, \
                     failure = CASE WHEN '{state}' = 'failed' THEN 'refused' END"
                )
            };
            let sql = format!(
                "DO $do$ BEGIN \
                   DELETE FROM messages; \
                   INSERT INTO messages (id, template, locale, lane, recipient, message_id_header, state, \
                     requested_at, created_at, updated_at, expires_at) \
                     VALUES (gen_random_uuid(), '', '', '', '', '', 'queued', now(), now(), now(), now()); \
                   ALTER TABLE messages DISABLE TRIGGER legal_moves; UPDATE messages SET {}; \
                   ALTER TABLE messages ENABLE TRIGGER legal_moves; \
                   BEGIN UPDATE messages SET {}; PERFORM set_config('test.verdict', 'yes', false); \
                   EXCEPTION WHEN check_violation THEN PERFORM set_config('test.verdict', 'no', false); END; \
                 END $do$",
                set(from_name),
                set(to_name)
            );
            sql_query(sql).execute(&mut conn).await.unwrap();
            let row: Row = sql_query("SELECT current_setting('test.verdict') AS verdict")
                .get_result(&mut conn)
                .await
                .unwrap();
            assert_eq!(row.verdict == "yes", from.may_become(*to), "{from_name} to {to_name}");
        }
    }
}
