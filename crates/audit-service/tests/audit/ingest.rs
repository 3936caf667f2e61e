use auth_events::routing::AUDIT_DEAD_QUEUE;
use serde_json::{Value, json};

use crate::{
    facts::{self, login, message, raw_message, registration, user},
    running::Running,
    sql,
};

#[tokio::test(flavor = "multi_thread")]
async fn an_event_that_comes_a_hundred_times_is_one_row() {
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
async fn a_hundred_bad_messages_among_ten_thousand_hold_nobody_up() {
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
        with(login(user()), "/id", json!("seven")).to_string(),
        with(login(user()), "/data/outcome", json!("perhaps")).to_string(),
        with(login(user()), "/data/client/userAgent", json!("x".repeat(513))).to_string(),
        with(login(user()), "/data/detail/methods", json!(["a\0b"])).to_string(),
    ];
    for index in 0..100 {
        messages.insert(index * 101, raw_message(poison[index % poison.len()].clone()));
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
