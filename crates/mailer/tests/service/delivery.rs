//! What becomes of a mail command, on a real PostgreSQL and a real SMTP conversation.

use std::{net::SocketAddr, sync::Arc, time::Duration};

use crate::support::{DEADLINE, Keys, Order, database, mailbox, postman, stopped_clock};
use auth_events::commands::{Locale, MailParameters};
use chrono::TimeDelta;
use clock::{Clock, ManualClock};
use dev_stack::mailbox::{Mailbox, SmtpFault};
use diesel_async::SimpleAsyncConnection;
use futures::future::{join, join_all};
use mailer::{
    app::{
        deliver::{DeliverError, Delivery, Postman},
        get_message::get_message,
    },
    domain::message::{Message, MessageState},
    store::moves,
};
use test_support::TestDatabase;

struct Surroundings {
    database: TestDatabase,
    mailbox: Mailbox,
    clock: Arc<ManualClock>,
    keys: Keys,
    postman: Postman,
}

impl Surroundings {
    async fn new() -> Self {
        let (database, mailbox, clock) = (database().await, mailbox().await, stopped_clock());
        let postman = postman(database.database("test"), mailbox.smtp_addr(), clock.clone());
        Self { database, mailbox, clock, keys: Keys::new(), postman }
    }

    async fn deliver(&self, order: &Order) -> Delivery {
        self.postman.deliver(&order.command(&self.keys)).await.unwrap()
    }

    async fn message(&self, order: &Order) -> Message {
        get_message(&self.postman.database, order.id).await.unwrap().0
    }

    async fn execute(&self, sql: &str) {
        self.database.admin().connection().await.unwrap().batch_execute(sql).await.unwrap();
    }

    /// Lets PostgreSQL refuse to have a mail sent, with the message `why`, until the trigger `refusal` is dropped.
    async fn refuse_sent(&self, why: &str) {
        self.execute(&format!(
            "CREATE FUNCTION refuse_sent() RETURNS trigger LANGUAGE plpgsql AS \
               $$ BEGIN RAISE '{why}'; END $$; \
             CREATE TRIGGER refusal BEFORE UPDATE ON messages FOR EACH ROW \
               WHEN (NEW.state = 'sent') EXECUTE FUNCTION refuse_sent()"
        ))
        .await;
    }

    /// Every state that the message went through, with the attempt and whether there was a reply.
    async fn transitions(&self, order: &Order) -> Vec<String> {
        use diesel::{QueryableByName, sql_types::Text};
        use diesel_async::RunQueryDsl;
        #[derive(QueryableByName)]
        struct Row {
            #[diesel(sql_type = Text)]
            line: String,
        }
        let sql = format!(
            "SELECT state || ' ' || attempt || coalesce(' ' || left(reply, 3), '') AS line \
             FROM message_transitions WHERE message = '{}' ORDER BY id",
            order.id
        );
        let mut conn = self.database.admin().connection().await.unwrap();
        let rows: Vec<Row> = diesel::sql_query(sql).load(&mut conn).await.unwrap();
        rows.into_iter().map(|row| row.line).collect()
    }
}

/// The first step of the ladder, of which chance takes up to a fifth.
fn assert_again_in_ten_seconds(delivery: Delivery) {
    let Delivery::Again(pause) = delivery else { panic!("{delivery:?}") };
    assert!((8..=10).contains(&pause.as_secs()), "{pause:?}");
}

#[tokio::test]
async fn a_mail_is_sent_once_however_often_it_is_asked_for() {
    let it = Surroundings::new().await;
    let order = Order::verify_email("ada@example.test");
    assert_eq!(it.deliver(&order).await, Delivery::Over);
    for _ in 0..20 {
        assert_eq!(it.deliver(&order).await, Delivery::Over);
    }
    let mails = it.mailbox.messages_to("ada@example.test");
    assert_eq!(mails.len(), 1);
    let header = format!("{}@auth.example", order.id);
    assert_eq!(mails[0].message_id.as_deref(), Some(header.as_str()));
    assert_eq!(mails[0].subject, "Confirm your email address for Acme");
    let link = "https://auth.example/verify-email#token=fat_secret";
    assert!(mails[0].text.lines().any(|line| line == link), "{}", mails[0].text);
    assert_eq!(mails[0].links, [link]);
    assert_eq!(it.transitions(&order).await, ["queued 0", "sending 1", "sent 1 250"]);
    let message = it.message(&order).await;
    assert_eq!(message.message_id_header, format!("<{header}>"));
    assert_eq!((message.state, message.attempts), (Some(MessageState::Sent), 1));
    assert!(message.sent_at.is_some() && message.last_reply.unwrap().starts_with("250"));
}

#[tokio::test]
async fn german_mails_are_german() {
    let it = Surroundings::new().await;
    let mut order = Order::verify_email("kaethe@example.test");
    order.locale = Locale::De;
    order.parameters = MailParameters::AlreadyRegistered {
        display_name: Some("Käthe".to_owned()),
        login_link: "https://auth.example/login".to_owned(),
        reset_link: "https://auth.example/forgot-password".to_owned(),
    };
    it.deliver(&order).await;
    let mail = it.mailbox.messages_to("kaethe@example.test").remove(0);
    assert_eq!(mail.subject, "Sie haben bereits ein Konto bei Acme");
    assert_eq!(mail.text.lines().next(), Some("Guten Tag Käthe,"));
    assert!(mail.html.contains("Passwort vergessen?"), "{}", mail.html);
}

#[tokio::test]
async fn of_twenty_workers_one_sends() {
    let it = Surroundings::new().await;
    let order = Order::verify_email("ada@example.test");
    let other = postman(it.database.database("test"), it.mailbox.smtp_addr(), it.clock.clone());
    let command = order.command(&it.keys);
    let workers = (0..20).map(|n| if n % 2 == 0 { &it.postman } else { &other });
    let outcomes = join_all(workers.map(|postman| postman.deliver(&command))).await;
    let outcomes: Vec<Delivery> = outcomes.into_iter().map(Result::unwrap).collect();
    assert!(
        outcomes.iter().all(|outcome| matches!(outcome, Delivery::Over | Delivery::NotNow(_))),
        "{outcomes:?}"
    );
    assert_eq!(it.mailbox.messages_to("ada@example.test").len(), 1);
    assert_eq!(it.transitions(&order).await, ["queued 0", "sending 1", "sent 1 250"]);
}

#[tokio::test]
async fn a_mail_that_the_server_cannot_take_now_is_sent_later_and_not_before() {
    let it = Surroundings::new().await;
    let order = Order::verify_email("ada@example.test");
    it.mailbox.set_fault(Some(SmtpFault::Transient));
    assert_again_in_ten_seconds(it.deliver(&order).await);
    assert_eq!(it.message(&order).await.state, Some(MessageState::Deferred));
    it.mailbox.set_fault(None);
    assert!(matches!(it.deliver(&order).await, Delivery::NotNow(pause) if pause <= Duration::from_secs(10)));
    it.clock.advance(TimeDelta::seconds(10));
    assert_eq!(it.deliver(&order).await, Delivery::Over);
    assert_eq!(
        it.transitions(&order).await,
        ["queued 0", "sending 1", "deferred 1 451", "sending 2", "sent 2 250"]
    );
    assert_eq!(it.mailbox.messages_to("ada@example.test").len(), 1);
}

#[tokio::test]
async fn a_refusal_is_final() {
    let it = Surroundings::new().await;
    let order = Order::verify_email("nobody@example.test");
    it.mailbox.set_fault(Some(SmtpFault::Permanent));
    assert_eq!(it.deliver(&order).await, Delivery::Over);
    it.mailbox.set_fault(None);
    it.clock.advance(TimeDelta::hours(2));
    assert_eq!(it.deliver(&order).await, Delivery::Over);
    assert_eq!(it.transitions(&order).await, ["queued 0", "sending 1", "failed 1 550"]);
    assert!(it.mailbox.messages_to("nobody@example.test").is_empty());
}

#[tokio::test]
async fn no_server_is_no_reason_to_give_up_until_the_mail_is_worthless() {
    let it = Surroundings::new().await;
    let nowhere: SocketAddr = "127.0.0.1:9".parse().unwrap();
    let postman = postman(it.database.database("test"), nowhere, it.clock.clone());
    let mut order = Order::verify_email("ada@example.test");
    order.expires_at = it.clock.now() + TimeDelta::seconds(15);
    let command = order.command(&it.keys);
    assert_again_in_ten_seconds(postman.deliver(&command).await.unwrap());
    it.clock.advance(TimeDelta::seconds(11));
    assert_eq!(postman.deliver(&command).await.unwrap(), Delivery::Over);
    assert_eq!(it.message(&order).await.state, Some(MessageState::Expired));
}

#[tokio::test]
async fn an_expired_mail_is_never_sent() {
    let it = Surroundings::new().await;
    let mut order = Order::verify_email("ada@example.test");
    order.expires_at = it.clock.now();
    assert_eq!(it.deliver(&order).await, Delivery::Over);
    assert_eq!(it.deliver(&order).await, Delivery::Over);
    assert_eq!(it.transitions(&order).await, ["queued 0", "expired 0"]);
    assert!(it.mailbox.messages_to("ada@example.test").is_empty());
}

#[tokio::test]
async fn a_message_of_a_dead_worker_is_taken_over_with_the_same_message_id() {
    let it = Surroundings::new().await;
    let order = Order::verify_email("ada@example.test");
    it.deliver(&order).await;
    // As if the worker had been killed between the server's answer and its commit.
    it.execute(&format!(
        "ALTER TABLE messages DISABLE TRIGGER legal_moves; \
         UPDATE messages SET state = 'sending', sent_at = NULL, claimed_at = '{}' WHERE id = '{}'; \
         ALTER TABLE messages ENABLE TRIGGER legal_moves",
        it.clock.now().to_rfc3339(),
        order.id
    ))
    .await;
    it.clock.advance(TimeDelta::seconds(119));
    assert!(matches!(it.deliver(&order).await, Delivery::NotNow(_)));
    it.clock.advance(TimeDelta::seconds(2));
    assert_eq!(it.deliver(&order).await, Delivery::Over);
    let mails = it.mailbox.messages_to("ada@example.test");
    assert_eq!(mails.len(), 2);
    assert_eq!(mails[0].message_id, mails[1].message_id);
    assert_eq!(it.message(&order).await.attempts, 2);
}

#[tokio::test]
async fn a_mail_that_was_accepted_while_postgres_went_away_is_not_sent_again() {
    for why in ["terminating connection, says the test", "a defect, says the test"] {
        let it = Surroundings::new().await;
        let order = Order::verify_email("ada@example.test");
        it.refuse_sent(why).await;
        let repaired = async {
            it.mailbox.wait_for("ada@example.test", DEADLINE).await.unwrap();
            it.execute("DROP TRIGGER refusal ON messages").await;
        };
        let (outcome, ()) = join(it.deliver(&order), repaired).await;
        assert_eq!(outcome, Delivery::Over);
        assert_eq!(it.deliver(&order).await, Delivery::Over);
        assert_eq!(it.transitions(&order).await, ["queued 0", "sending 1", "sent 1 250"]);
        assert_eq!(it.mailbox.messages_to("ada@example.test").len(), 1);
    }
}

#[tokio::test]
async fn an_outcome_that_postgres_refuses_is_given_up_when_somebody_else_may_try() {
    let it = Surroundings::new().await;
    let order = Order::verify_email("ada@example.test");
    it.refuse_sent("a defect, says the test").await;
    let two_minutes_pass = async {
        it.mailbox.wait_for("ada@example.test", DEADLINE).await.unwrap();
        it.clock.advance(TimeDelta::seconds(121));
    };
    let command = order.command(&it.keys);
    let (outcome, ()) = join(it.postman.deliver(&command), two_minutes_pass).await;
    assert!(matches!(outcome, Err(DeliverError::Unsettled(_))), "{outcome:?}");
    assert_eq!(it.message(&order).await.state, Some(MessageState::Sending));
}

#[tokio::test]
async fn what_somebody_else_holds_is_not_queued_again_and_keeps_nothing_waiting() {
    let it = Surroundings::new().await;
    let (held, free) = (Order::verify_email("ada@example.test"), Order::verify_email("bob@example.test"));
    it.mailbox.set_fault(Some(SmtpFault::Permanent));
    for order in [&held, &free] {
        assert_eq!(it.deliver(order).await, Delivery::Over);
    }
    let mut other = it.database.admin().connection().await.unwrap();
    let lock = format!("BEGIN; SELECT FROM messages WHERE id = '{}' FOR UPDATE", held.id);
    other.batch_execute(&lock).await.unwrap();
    let mut conn = it.postman.database.connection().await.unwrap();
    let queued = moves::requeue(&mut conn, &[held.id, free.id], it.clock.now()).await.unwrap();
    assert_eq!(queued.iter().map(|message| message.id).collect::<Vec<_>>(), [free.id]);
    other.batch_execute("ROLLBACK").await.unwrap();
    let queued = moves::requeue(&mut conn, &[held.id, free.id], it.clock.now()).await.unwrap();
    assert_eq!(queued.iter().map(|message| message.id).collect::<Vec<_>>(), [held.id]);
}

#[tokio::test]
async fn a_connection_that_broke_is_not_used_again() {
    let it = Surroundings::new().await;
    let (lost, next) = (Order::verify_email("ada@example.test"), Order::verify_email("bob@example.test"));
    it.mailbox.set_fault(Some(SmtpFault::Disconnect));
    assert_again_in_ten_seconds(it.deliver(&lost).await);
    it.mailbox.set_fault(None);
    assert_eq!(it.deliver(&next).await, Delivery::Over);
    assert_eq!(it.mailbox.messages_to("bob@example.test").len(), 1);
}

#[tokio::test]
async fn nothing_secret_is_in_the_database() {
    let it = Surroundings::new().await;
    let (sent, waiting) = (Order::verify_email("ada@example.test"), Order::verify_email("bob@example.test"));
    it.deliver(&sent).await;
    it.mailbox.set_fault(Some(SmtpFault::Transient));
    it.deliver(&waiting).await;
    // What waits keeps its command, of which only the mailer's key opens the parameters; what is over keeps nothing.
    for secret in ["fat_secret", "verify-email#"] {
        it.execute(&format!(
            "DO $$ BEGIN IF EXISTS (SELECT FROM messages m JOIN message_transitions t ON t.message = m.id \
             WHERE m::text LIKE '%{secret}%' OR t::text LIKE '%{secret}%' \
                OR encode(m.command, 'escape') LIKE '%{secret}%') THEN RAISE 'found'; END IF; \
             IF (SELECT array_agg(state ORDER BY state) FROM messages WHERE command IS NOT NULL) <> '{{deferred}}' \
             THEN RAISE 'kept'; END IF; END $$"
        ))
        .await;
    }
}
