//! Nothing is lost and nothing comes twice while the broker or the database is away.

use std::{
    sync::atomic::{AtomicBool, AtomicI64, Ordering},
    time::Duration,
};

use audit_service::startup::migrations;
use auth_events::routing::AUDIT_DEAD_QUEUE;
use diesel_async::SimpleAsyncConnection;
use test_support::{TestDatabase, eventually};

use crate::{
    facts::{login, message, user},
    running::{DEADLINE, Running},
    sql,
};

const EVENTS: i64 = 3_000;

/// Publishes [`EVENTS`] events in thirty steps and calls `between` after each.
async fn publish_with(audit: &Running, mut between: impl AsyncFnMut(i64)) {
    for step in 0..30 {
        let events = (0..EVENTS / 30).map(|_| message(&login(user()))).collect();
        audit.publish(events).await;
        between(step).await;
    }
}

async fn expect_every_event_once(audit: &Running, events: i64) {
    audit.wait_for_rows(events).await;
    // Rows whose acknowledgement was lost come again, and before this one.
    audit.publish(vec![message(&login(user()))]).await;
    audit.wait_for_rows(events + 1).await;
    audit.stop_and_expect_an_empty_queue().await;
    assert_eq!(sql::rows(&audit.admin).await, events + 1);
    assert_eq!(audit.broker.queue_length(AUDIT_DEAD_QUEUE).await, 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn the_broker_closes_every_connection_again_and_again() {
    let audit = Running::start().await;
    let (published, over) = (AtomicI64::new(0), AtomicBool::new(false));
    let publish = async {
        while !over.load(Ordering::Relaxed) {
            audit.publish((0..20).map(|_| message(&login(user()))).collect()).await;
            published.fetch_add(20, Ordering::Relaxed);
        }
    };
    let disturb = async {
        for _ in 0..3 {
            // The broker lists a connection some seconds after it was made.
            eventually("a connection to close", DEADLINE, || async {
                (audit.broker.close_all_connections().await > 0).then_some(())
            })
            .await;
        }
        over.store(true, Ordering::Relaxed);
    };
    futures::join!(publish, disturb);
    expect_every_event_once(&audit, published.into_inner()).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_database_ends_every_session_again_and_again() {
    let audit = Running::start().await;
    let mut ended = 0;
    publish_with(&audit, async |_| {
        ended += sql::number(
            &audit.admin,
            "(SELECT count(pg_terminate_backend(pid)) FROM pg_stat_activity \
             WHERE datname = current_database() AND usename = 'audit_app')",
        )
        .await;
    })
    .await;
    assert!(ended > 0, "no session was there to be ended");
    expect_every_event_once(&audit, EVENTS).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_table_is_locked_for_longer_than_a_statement_waits() {
    let audit = Running::start().await;
    let mut holder = audit.admin.connection().await.unwrap();
    let mut attempts = 0;
    publish_with(&audit, async |step| match step {
        10 => {
            holder.batch_execute("BEGIN; LOCK TABLE events IN ACCESS EXCLUSIVE MODE").await.unwrap();
            attempts = audit.samples("audit_batch_size");
        }
        20 => {
            let enough = attempts + 3;
            audit.wait_for_attempts(enough).await;
            holder.batch_execute("COMMIT").await.unwrap();
        }
        _ => {}
    })
    .await;
    expect_every_event_once(&audit, EVENTS).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_database_that_is_too_slow_for_a_batch_gets_less_at_a_time() {
    let audit = Running::start().await;
    // A statement may take two seconds: a hundred rows.
    sql::execute(
        &audit.admin,
        "CREATE FUNCTION dawdle() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN PERFORM pg_sleep(0.02); RETURN NEW; END $$; \
         CREATE TRIGGER dawdle BEFORE INSERT ON event_ids FOR EACH ROW EXECUTE FUNCTION dawdle()",
    )
    .await
    .unwrap();
    let events = 300;
    audit.publish((0..events).map(|_| message(&login(user()))).collect()).await;
    expect_every_event_once(&audit, events).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_database_that_takes_no_rows_is_no_reason_to_give_events_up() {
    let audit = Running::start().await;
    publish_with(&audit, async |step| match step {
        10 => sql::execute(&audit.admin, "REVOKE INSERT ON events FROM audit_rw, audit_app").await.unwrap(),
        20 => sql::execute(&audit.admin, "GRANT INSERT ON events TO audit_rw").await.unwrap(),
        _ => {}
    })
    .await;
    expect_every_event_once(&audit, EVENTS).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_long_outage_wears_no_message_out() {
    let audit = Running::start().await;
    sql::execute(&audit.admin, "REVOKE INSERT ON events FROM audit_rw, audit_app").await.unwrap();
    let events: Vec<_> = (0..20).map(|_| message(&login(user()))).collect();
    audit.publish(events).await;
    // The broker gives a message up after five failed deliveries; more attempts than that must do no harm.
    audit.wait_for_attempts(7).await;
    sql::execute(&audit.admin, "GRANT INSERT ON events TO audit_rw").await.unwrap();
    audit.wait_for_rows(20).await;
    audit.stop_and_expect_an_empty_queue().await;
    assert_eq!(audit.broker.queue_length(AUDIT_DEAD_QUEUE).await, 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_service_that_starts_before_its_migrations_waits_for_them() {
    let database = TestDatabase::new("audit", migrations()).await;
    pg::migrate::down(&database.owner_url(), migrations(), 1).await.unwrap();
    let audit = Running::start_with(database).await;
    eventually("nothing but the migrations to be missing", DEADLINE, || async {
        let report = audit.lifecycle.readiness().report().await;
        let unmet: Vec<_> = report.checks.iter().filter(|check| !check.ok).map(|check| check.name).collect();
        (unmet == ["migrations"]).then_some(())
    })
    .await;
    pg::migrate::up(&audit.database.owner_url(), migrations()).await.unwrap();
    audit.publish(vec![message(&login(user()))]).await;
    audit.wait_for_rows(1).await;
    tokio::time::timeout(Duration::from_secs(30), audit.lifecycle.readiness().wait_until_ready())
        .await
        .unwrap();
    audit.stop_and_expect_an_empty_queue().await;
}
