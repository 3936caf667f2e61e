use std::sync::Arc;

use audit_service::{
    app::Arrival,
    consumer::{self, Recorder},
    metrics::Metrics,
    startup::migrations,
    vouching::NewRows,
};
use auth_events::routing::AUDIT_DEAD_QUEUE;
use auth_proto::audit::v1::SearchRequest;
use clock::{Clock, SystemClock};
use event_bus::{BatchHandler, Delivery, EventBus, Verdict};
use prometheus::Registry;
use serde_json::{Value, json};
use service_runtime::CancellationToken;
use test_support::{TestBroker, TestDatabase, eventually};

use crate::{
    facts::{self, login, message, raw_message, registration, user},
    running::{DEADLINE, Running, log_of},
    sql,
};

#[tokio::test(flavor = "multi_thread")]
async fn amq_04_an_event_that_comes_a_hundred_times_is_one_row() {
    let audit = Running::start().await;
    let event = login(user());
    audit.publish(vec![message(&event); 100]).await;
    let last = registration(user());
    audit.publish(vec![message(&last)]).await;
    audit.wait_for_rows(2).await;
    audit.stop_and_expect_an_empty_queue().await;
    assert_eq!(sql::rows(&audit.admin).await, 2);
    assert_eq!((audit.counter("audit_ingested_total"), audit.counter("audit_duplicates_total")), (2, 99));
}

#[tokio::test(flavor = "multi_thread")]
async fn amq_01_a_hundred_bad_messages_among_ten_thousand_hold_nobody_up() {
    const GOOD: usize = 10_000;
    let audit = Running::start().await;
    let mut messages: Vec<_> = (0..GOOD).map(|_| message(&login(user()))).collect();
    let poison = [
        "not JSON".to_owned(),
        "{\"specversion\":\"1.0\"".to_owned(),
        "[]".to_owned(),
        "x".repeat(100_000),
        with(login(user()), "/type", json!("auth.user.exploded")).to_string(),
        with(login(user()), "/version", json!(9)).to_string(),
        with(login(user()), "/id", json!(null)).to_string(),
        with(login(user()), "/data/outcome", json!("perhaps")).to_string(),
        with(login(user()), "/data/client/userAgent", json!("x".repeat(513))).to_string(),
        with(login(user()), "/data/detail/methods", json!(["a\0b"])).to_string(),
    ];
    for index in 0..100 {
        // The first is of 10 MiB.
        let text = if index == 0 { "x".repeat(10 << 20) } else { poison[index % poison.len()].clone() };
        messages.insert(index * 101, raw_message(text));
    }
    for chunk in messages.chunks(500) {
        audit.publish(chunk.to_vec()).await;
    }
    audit.wait_for_rows(10_000).await;
    audit.wait_for_dead_letters(100).await;
    audit.stop_and_expect_an_empty_queue().await;
    assert_eq!((audit.counter("audit_ingested_total"), audit.counter("audit_rejected_total")), (10_000, 100));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_row_that_only_the_database_refuses_does_not_hold_its_batch_up() {
    let audit = Running::start().await;
    sql::execute(&audit.admin, "ALTER TABLE events ADD CHECK (reason <> 'poison')").await.unwrap();
    let mut messages: Vec<_> = (0..300).map(|_| message(&login(user()))).collect();
    let poison = with(login(user()), "/data/reason", json!("poison"));
    messages.insert(70, message(&poison));
    audit.publish(messages).await;
    // And once more alone, when there is no good row to compare it with.
    audit.wait_for_rows(300).await;
    let lonely = with(login(user()), "/data/reason", json!("poison"));
    audit.publish(vec![message(&lonely)]).await;
    audit.wait_for_dead_letters(2).await;
    audit.stop_and_expect_an_empty_queue().await;
    let mut dead: Vec<_> = audit.broker.take(AUDIT_DEAD_QUEUE).await.iter().map(facts::id).collect();
    dead.sort();
    let mut expected = vec![facts::id(&poison), facts::id(&lonely)];
    expected.sort();
    assert_eq!(dead, expected);
}

#[tokio::test(flavor = "multi_thread")]
async fn texts_at_their_limits_are_kept_and_those_beyond_are_not() {
    let audit = Running::start().await;
    let hostile = "'; DROP TABLE events; -- \u{202e}\u{7f}\n😀";
    let good = [
        with(login(user()), "/data/client/userAgent", json!("x".repeat(512))),
        with(login(user()), "/data/client/userAgent", json!(hostile)),
        with(login(user()), "/data/detail/methods", json!([hostile])),
        with(login(user()), "/data/target", json!({"kind": "session", "id": "x".repeat(256)})),
        with(login(user()), "/data/client/requestId", json!("x".repeat(128))),
        with(login(user()), "/time", json!("9999-12-31T23:59:59.999999999Z")),
    ];
    let bad = [
        with(login(user()), "/source", json!("auth\0api")),
        with(login(user()), "/data/reason", json!("x".repeat(129))),
        with(login(user()), "/data/detail/a\0b", json!(1)),
        with(login(user()), "/data/detail/methods", json!(["x".repeat(5_000)])),
    ];
    audit.publish(good.iter().chain(&bad).map(message).collect()).await;
    audit.wait_for_rows(6).await;
    audit.wait_for_dead_letters(4).await;
    audit.stop_and_expect_an_empty_queue().await;
    assert_eq!(audit.broker.take(AUDIT_DEAD_QUEUE).await.len(), 4);
}

#[tokio::test(flavor = "multi_thread")]
async fn two_replicas_record_in_the_order_of_seq() {
    let audit = Running::start().await;
    let replicas = [audit.another_log(), audit.another_log()];
    let mut writers = tokio::task::JoinSet::new();
    for replica in replicas {
        writers.spawn(async move {
            for _ in 0..100 {
                let events: Vec<_> = (0..5).map(|_| facts::parsed(&login(user()))).collect();
                replica.record(&events).await;
            }
        });
    }
    // What a reader saw up to some `seq` is all that there ever is up to it.
    let mut seen = Vec::new();
    while !writers.is_empty() {
        let last = sql::number(&audit.admin, "(SELECT coalesce(max(seq), 0) FROM events)").await;
        seen.push((last, count_up_to(&audit, last).await));
        if let Some(ended) = writers.try_join_next() {
            ended.unwrap();
        }
    }
    assert_eq!(sql::rows(&audit.admin).await, 1_000);
    for (last, count) in seen {
        assert_eq!(count_up_to(&audit, last).await, count, "up to {last}");
    }
    audit.stop_and_expect_an_empty_queue().await;
}

async fn count_up_to(audit: &Running, seq: i64) -> i64 {
    sql::number(&audit.admin, &format!("(SELECT count(*) FROM events WHERE seq <= {seq})")).await
}

fn with(mut envelope: Value, pointer: &str, value: Value) -> Value {
    let (parent, field) = pointer.rsplit_once('/').unwrap();
    envelope.pointer_mut(parent).unwrap()[field] = value;
    envelope
}

#[tokio::test(flavor = "multi_thread")]
async fn a_fact_that_was_confirmed_and_never_arrives_is_noticed() {
    let audit = Running::start().await;
    audit.publish((0..50).map(|_| message(&login(user()))).collect()).await;
    audit.wait_for_rows(50).await;
    let log = audit.another_log();
    let publisher = auth_ids::Uuid::from_u128(7);
    let arrival =
        |number, settled| Arrival { publisher, number, settled, source: Some("auth-api".to_owned()) };
    let now = SystemClock.now();
    for batch in [[arrival(2, 0), arrival(1, 0)], [arrival(5, 4), arrival(5, 4)]] {
        assert!(log.note_arrivals(&batch, now).await.unwrap().is_empty());
    }
    // Another replica, some minutes later.
    let later = now + chrono::TimeDelta::minutes(6);
    let lost = audit.another_log().note_arrivals(&[arrival(6, 5)], later).await.unwrap();
    assert_eq!(lost, [("auth-api".to_owned(), 2)].into());
    assert!(log.note_arrivals(&[arrival(7, 6)], later).await.unwrap().is_empty());
    // Nor does it take another message of the same connection.
    let gone = Arrival { publisher: auth_ids::Uuid::from_u128(8), ..arrival(4, 2) };
    assert!(log.note_arrivals(&[gone], now).await.unwrap().is_empty());
    assert!(log.note_absences(now + chrono::TimeDelta::minutes(4)).await.unwrap().is_empty());
    assert_eq!(log.note_absences(later).await.unwrap(), [("auth-api".to_owned(), 2)].into());
    assert!(log.note_absences(later).await.unwrap().is_empty());
    // Of what arrived by the broker nothing is missing.
    let holes = "(SELECT count(*) FROM producers WHERE holes::text <> '[]' AND instance NOT IN ('00000000-0000-0000-0000-000000000007', '00000000-0000-0000-0000-000000000008'))";
    assert_eq!(sql::number(&audit.admin, holes).await, 0);
    let noted = "(SELECT max(highest) FROM producers WHERE source = 'auth-api')";
    assert_eq!(sql::number(&audit.admin, noted).await, 50);
    audit.stop_and_expect_an_empty_queue().await;
}

/// Crashes on what names it, as a defect of ours would.
struct Fragile(Recorder);

impl BatchHandler for Fragile {
    async fn handle(&self, deliveries: Vec<Delivery>) -> Vec<Verdict> {
        let is_poison = |delivery: &Delivery| delivery.payload.windows(6).any(|part| part == b"poison");
        assert!(!deliveries.iter().any(is_poison), "poison");
        self.0.handle(deliveries).await
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn amq_03_an_event_that_crashes_the_consumer_is_parked_and_the_others_are_recorded() {
    test_support::install_crypto_provider();
    let (database, broker) = (TestDatabase::new("audit", migrations()).await, TestBroker::new().await);
    let registry = Registry::new();
    let bus = EventBus::new(&broker.amqp_url(), "audit-service", &registry).unwrap();
    let metrics = Metrics::register(&registry, Arc::new(SystemClock)).unwrap();
    let recorder = Recorder::new(log_of(&database), metrics, NewRows::default());
    let stop = CancellationToken::new();
    let consuming = bus.consume_batches(consumer::settings(), Fragile(recorder), stop.clone());

    let mut messages: Vec<_> = (0..200).map(|_| message(&login(user()))).collect();
    messages.insert(100, message(&with(login(user()), "/data/reason", json!("poison"))));
    let checking = async {
        let publisher = EventBus::new(&broker.amqp_url(), "producer", &Registry::new()).unwrap().publisher();
        publisher.ready().await.unwrap();
        for result in publisher.publish(messages).await {
            result.unwrap();
        }
        let admin = database.admin();
        eventually("the others to be recorded and the poison to be parked", DEADLINE, || async {
            let rows = sql::rows(&admin).await;
            (rows == 200 && broker.queue_length(AUDIT_DEAD_QUEUE).await == 1).then_some(())
        })
        .await;
        stop.cancel();
    };
    futures::join!(consuming, checking);
}

#[tokio::test(flavor = "multi_thread")]
async fn amq_05_events_that_come_in_any_order_keep_their_own_time() {
    let audit = Running::start().await;
    let person = user();
    let times =
        ["2030-01-03T00:00:00Z", "2030-01-01T00:00:00Z", "2030-01-02T00:00:00Z", "2030-01-01T00:00:00Z"];
    for time in times {
        audit.publish(vec![message(&with(login(person), "/time", json!(time)))]).await;
    }
    audit.wait_for_rows(4).await;
    let request = SearchRequest { subject_id: person.to_string(), ..SearchRequest::default() };
    let mut events = audit.client.clone().search(request).await.unwrap().into_inner().events;
    events.sort_by_key(|event| (event.occurred_at.unwrap().seconds, event.seq));
    let days: Vec<_> =
        events.iter().map(|event| event.occurred_at.unwrap().seconds / 86_400 - 21_915).collect();
    assert_eq!(days, [0, 0, 1, 2]);
    let mut seqs: Vec<_> = events.iter().map(|event| event.seq).collect();
    seqs.sort_unstable();
    assert_eq!(seqs, [1, 2, 3, 4]);
    audit.stop_and_expect_an_empty_queue().await;
}
