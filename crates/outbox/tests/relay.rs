//! What was committed arrives, whatever happens between the database and the broker.
#![expect(clippy::unwrap_used, clippy::indexing_slicing, reason = "a test may panic")]

use std::{
    collections::{HashMap, HashSet},
    time::{Duration, Instant},
};

use auth_events::{
    Envelope, Fact,
    commands::{Lane, Locale, MailSend, MailTemplate},
    facts::AuthLogout,
    routing::AUDIT_QUEUE,
};
use auth_ids::EventId;
use clock::{SystemClock, secure_rng};
use diesel_async::{AsyncConnection, RunQueryDsl, SimpleAsyncConnection};
use diesel_migrations::{EmbeddedMigrations, embed_migrations};
use event_bus::EventBus;
use outbox::{Relay, RelaySettings, Wake};
use pg::Database;
use prometheus::Registry;
use secrecy::SecretString;
use test_support::{TestBroker, TestDatabase, eventually};
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

const MIGRATIONS: EmbeddedMigrations = embed_migrations!("tests/migrations");
const SOON: Duration = Duration::from_secs(30);
const DRAIN: Duration = Duration::from_secs(5);

fn fact() -> Envelope<Fact<AuthLogout>> {
    let fact = Fact::by_service("test", AuthLogout {});
    Envelope::fact("test", None, fact, &SystemClock, &mut secure_rng())
}

fn mail() -> Envelope<MailSend> {
    let mail = MailSend {
        template: MailTemplate::VerifyEmail,
        locale: Locale::De,
        to: "somebody@example.org".to_owned(),
        lane: Lane::Security,
        expires_at: "2030-01-01T00:00:00Z".parse().unwrap(),
        supersedes: None,
        sealed: String::new(),
    };
    Envelope::mail_command(
        auth_ids::generate(&SystemClock, &mut secure_rng()),
        "test",
        None,
        mail,
        &SystemClock,
    )
}

/// The database of a test and relays that work on it.
struct Post {
    database: TestDatabase,
    pool: Database,
    wake: Wake,
    stop: CancellationToken,
    relays: JoinSet<()>,
}

impl Post {
    async fn new() -> Self {
        let database = TestDatabase::new("outboxtest", MIGRATIONS).await;
        let pool = database.database("test");
        let (wake, stop) = (Wake::default(), CancellationToken::new());
        Self { database, pool, wake, stop, relays: JoinSet::new() }
    }

    /// Starts a relay with a pool and a connection of its own, as another replica would.
    fn relay(&mut self, broker: &SecretString, settings: RelaySettings) -> Registry {
        let registry = Registry::new();
        let bus = EventBus::new(broker, "test", &registry).unwrap();
        let database = self.database.settings("relay");
        let relay = Relay::new(database, bus.publisher(), settings, self.wake.clone(), &registry).unwrap();
        self.relays.spawn(relay.run(self.stop.clone(), DRAIN));
        registry
    }

    async fn append_facts(&self, count: usize) -> HashSet<EventId> {
        let mut conn = self.pool.connection().await.unwrap();
        let mut ids = HashSet::new();
        for _ in 0..count {
            let fact = fact();
            ids.insert(fact.id);
            outbox::append_fact(&mut conn, fact).await.unwrap();
        }
        ids
    }

    async fn waiting(&self) -> usize {
        let mut conn = self.pool.connection().await.unwrap();
        diesel::sql_query("SELECT FROM outbox").execute(&mut conn).await.unwrap()
    }

    async fn until_waiting(&self, count: usize) {
        let settled = async || (self.waiting().await == count).then_some(());
        eventually(&format!("{count} messages to be left"), SOON, settled).await;
    }

    async fn finish(mut self) {
        self.stop.cancel();
        while let Some(ended) = self.relays.join_next().await {
            ended.unwrap();
        }
    }
}

/// How often each event arrived.
async fn arrivals(broker: &TestBroker) -> HashMap<EventId, usize> {
    let mut arrivals = HashMap::new();
    for event in broker.take(AUDIT_QUEUE).await {
        let id: EventId = serde_json::from_value(event["id"].clone()).unwrap();
        *arrivals.entry(id).or_default() += 1;
    }
    arrivals
}

#[test]
fn the_readme_shows_the_table() {
    let readme = include_str!("../README.md");
    assert!(readme.contains(include_str!("migrations/2026-11-23-000101_create_outbox/up.sql")));
}

#[tokio::test]
async fn facts_and_commands_arrive_and_leave_nothing_behind() {
    let (broker, mut post) = (TestBroker::new().await, Post::new().await);
    post.relay(&broker.amqp_url(), RelaySettings::default());
    let (fact, mail) = (fact(), mail());
    let mut conn = post.pool.connection().await.unwrap();
    conn.transaction(async |conn| {
        outbox::append_fact(conn, fact.clone()).await?;
        outbox::append_mail(conn, mail.clone()).await
    })
    .await
    .unwrap();
    post.wake.wake();
    post.until_waiting(0).await;
    assert_eq!(broker.take(AUDIT_QUEUE).await, [serde_json::to_value(&fact).unwrap()]);
    assert_eq!(broker.take("mailer.send.security").await, [serde_json::to_value(&mail).unwrap()]);
    post.finish().await;
}

#[tokio::test]
async fn what_is_rolled_back_was_never_said() {
    let (broker, mut post) = (TestBroker::new().await, Post::new().await);
    post.relay(&broker.amqp_url(), RelaySettings::default());
    let mut conn = post.pool.connection().await.unwrap();
    let rolled_back: Result<(), pg::Error> = conn
        .transaction(async |conn| {
            outbox::append_fact(conn, fact()).await?;
            Err(pg::Error::PoolExhausted)
        })
        .await;
    rolled_back.unwrap_err();
    // A message that follows shows that the relay had its chance.
    let said = post.append_facts(1).await;
    post.wake.wake();
    post.until_waiting(0).await;
    assert_eq!(arrivals(&broker).await.into_keys().collect::<HashSet<_>>(), said);
    post.finish().await;
}

/// Facts of the last ten minutes, and a relay that has begun to bring them, 30 a second because there are few.
async fn begun_to_bring(count: usize, broker: &TestBroker) -> (Post, HashSet<EventId>) {
    let mut post = Post::new().await;
    let said = post.append_facts(count).await;
    let mut conn = post.pool.connection().await.unwrap();
    conn.batch_execute("UPDATE outbox SET created_at = created_at - random() * interval '10 minutes'")
        .await
        .unwrap();
    post.relay(&broker.amqp_url(), RelaySettings::default());
    let begun = async || (post.waiting().await < count).then_some(());
    eventually("the first messages to be gone", SOON, begun).await;
    (post, said)
}

#[tokio::test]
async fn late_messages_are_brought_at_a_steady_rate() {
    let broker = TestBroker::new().await;
    let (post, said) = begun_to_bring(90, &broker).await;
    let began = Instant::now();
    post.until_waiting(0).await;
    assert!(began.elapsed() > Duration::from_secs(2), "{:?}", began.elapsed());
    assert_eq!(arrivals(&broker).await.into_keys().collect::<HashSet<_>>(), said);
    post.finish().await;
}

#[tokio::test]
async fn a_relay_that_stops_brings_late_messages_at_once() {
    let broker = TestBroker::new().await;
    let (post, said) = begun_to_bring(400, &broker).await;
    post.finish().await;
    assert_eq!(arrivals(&broker).await.into_keys().collect::<HashSet<_>>(), said);
}

#[tokio::test]
async fn amq_09_what_no_queue_receives_stays_and_is_not_in_the_way() {
    let (broker, mut post) = (TestBroker::new().await, Post::new().await);
    let mut conn = post.pool.connection().await.unwrap();
    conn.batch_execute(
        "INSERT INTO outbox (id, exchange, routing_key, message_type, payload)
         SELECT gen_random_uuid(), exchange, 'nowhere', 'x.v1', '{}'
         FROM unnest(ARRAY['auth.commands', 'auth.unknown']) AS exchange, generate_series(1, 10)",
    )
    .await
    .unwrap();
    let said = post.append_facts(50).await;
    // Fewer than what is in the way.
    post.relay(&broker.amqp_url(), RelaySettings { batch_size: 7, ..RelaySettings::default() });
    post.until_waiting(20).await;
    let arrived = arrivals(&broker).await;
    assert_eq!(arrived.keys().copied().collect::<HashSet<_>>(), said);
    assert!(arrived.values().all(|times| *times == 1));
    post.finish().await;
}

#[tokio::test]
async fn two_relays_share_the_work() {
    let (broker, mut post) = (TestBroker::new().await, Post::new().await);
    let said = post.append_facts(400).await;
    for _ in 0..2 {
        post.relay(&broker.amqp_url(), RelaySettings { batch_size: 20, ..RelaySettings::default() });
    }
    post.until_waiting(0).await;
    let arrived = arrivals(&broker).await;
    assert_eq!(arrived.len(), said.len());
    assert!(arrived.values().all(|times| *times == 1), "{arrived:?}");
    post.finish().await;
}

#[tokio::test]
async fn nothing_is_lost_while_connections_break() {
    let (broker, mut post) = (TestBroker::new().await, Post::new().await);
    for _ in 0..2 {
        post.relay(&broker.amqp_url(), RelaySettings { batch_size: 20, ..RelaySettings::default() });
    }
    let writing = async {
        let mut said = HashSet::new();
        for _ in 0..40 {
            said.extend(post.append_facts(25).await);
            post.wake.wake();
        }
        said
    };
    let breaking = async {
        let mut closed = 0;
        eventually("five connections to be closed", SOON, async || {
            closed += broker.close_all_connections().await;
            (closed >= 5).then_some(())
        })
        .await;
    };
    let (said, ()) = tokio::join!(writing, breaking);
    post.until_waiting(0).await;
    let arrived: HashSet<_> = arrivals(&broker).await.into_keys().collect();
    assert_eq!(said.difference(&arrived).count(), 0);
    post.finish().await;
}

#[tokio::test]
async fn a_broker_that_is_away_costs_no_message_and_no_time_at_the_end() {
    let (broker, mut post) = (TestBroker::new().await, Post::new().await);
    let said = post.append_facts(3).await;
    let registry = post.relay(&"amqp://u:p@127.0.0.1:1/x".into(), RelaySettings::default());
    eventually("the metrics to tell", SOON, async || {
        let text = prometheus::TextEncoder::new().encode_to_string(&registry.gather()).unwrap();
        (text.contains("outbox_pending 3") && !text.contains("outbox_oldest_seconds 0\n")).then_some(())
    })
    .await;
    post.stop.cancel();
    let begin = Instant::now();
    post.relays.join_next().await.unwrap().unwrap();
    assert!(begin.elapsed() < DRAIN + Duration::from_secs(2));
    assert_eq!(post.waiting().await, 3);

    post.stop = CancellationToken::new();
    post.relay(&broker.amqp_url(), RelaySettings::default());
    post.until_waiting(0).await;
    assert_eq!(arrivals(&broker).await.into_keys().collect::<HashSet<_>>(), said);
    post.finish().await;
}

#[tokio::test]
async fn a_relay_that_is_stopped_brings_the_rest_first() {
    let (broker, mut post) = (TestBroker::new().await, Post::new().await);
    let rarely = RelaySettings { period: Duration::from_hours(1), ..RelaySettings::default() };
    post.relay(&broker.amqp_url(), rarely);
    let first = post.append_facts(1).await;
    post.wake.wake();
    post.until_waiting(0).await;
    // Nobody wakes it for these.
    let rest = post.append_facts(10).await;
    post.stop.cancel();
    post.relays.join_next().await.unwrap().unwrap();
    assert_eq!(post.waiting().await, 0);
    let arrived: HashSet<_> = arrivals(&broker).await.into_keys().collect();
    assert_eq!(arrived, &first | &rest);
}

#[tokio::test]
async fn a_backlog_of_many_rounds_is_brought_without_a_pause_and_also_at_the_end() {
    let (broker, mut post) = (TestBroker::new().await, Post::new().await);
    let first = post.append_facts(20).await;
    post.relay(
        &broker.amqp_url(),
        RelaySettings { batch_size: 1, period: Duration::from_hours(1), ..RelaySettings::default() },
    );
    post.until_waiting(0).await;
    let rest = post.append_facts(20).await;
    post.stop.cancel();
    post.relays.join_next().await.unwrap().unwrap();
    assert_eq!(post.waiting().await, 0);
    let arrived: HashSet<_> = arrivals(&broker).await.into_keys().collect();
    assert_eq!(arrived, &first | &rest);
}
