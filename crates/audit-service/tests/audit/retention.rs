//! Months go when their time is over, and the rest still proves itself.

use std::sync::Arc;

use audit_service::{
    app::{Notary, Retention},
    domain::{CheckpointKeys, Class, Event, chain::RowContent},
    startup::migrations,
    store::{self, chain::NewRow},
};
use auth_ids::GenericUuid;
use chrono::{DateTime, Utc};
use clock::SystemClock;
use diesel_async::AsyncConnection;
use pg::{Database, DatabaseSettings};
use test_support::TestDatabase;

use crate::{
    cli,
    facts::{login, parsed, user},
    running::{CHECKPOINT_KEY, log_of},
    sql,
};

/// As `AUDIT_RETENTION` says it by default.
pub fn retention() -> Retention {
    let days = vec![(Class::Security, 400), (Class::Routine, 35)];
    Retention { days, clock: Arc::new(SystemClock) }
}

/// A log with rows of two months that are long over, and of this one.
async fn old_log() -> (TestDatabase, Notary) {
    test_support::install_crypto_provider();
    let database = TestDatabase::new("audit", migrations()).await;
    let owner = Database::new(&DatabaseSettings::new(database.owner_url(), "owner")).unwrap();
    for (month, start, end) in
        [("2024_01", "2024-01-01", "2024-02-01"), ("2024_02", "2024-02-01", "2024-03-01")]
    {
        for table in ["events", "ip_tags"] {
            let make = format!(
                "CREATE TABLE {table}_security_{month} PARTITION OF {table}_security \
                 FOR VALUES FROM ('{start} 00:00:00+00') TO ('{end} 00:00:00+00')"
            );
            sql::execute(&owner, &make).await.unwrap();
        }
    }
    for time in ["2024-01-05T00:00:00Z", "2024-01-31T23:59:59.999999Z", "2024-02-01T00:00:00Z"] {
        record_at(&database, &parsed(&login(user())), time.parse().unwrap()).await;
    }
    log_of(&database).record(&[parsed(&login(user())), parsed(&login(user()))]).await;
    let keys = CheckpointKeys::parse(Some(CHECKPOINT_KEY), &[]).unwrap();
    let notary = Notary::new(database.database("notary"), keys, None, retention());
    (database, notary)
}

/// Records as the service would have at that time, without anything personal.
async fn record_at(database: &TestDatabase, event: &Event, recorded_at: DateTime<Utc>) {
    let mut conn = database.admin().connection().await.unwrap();
    conn.transaction(async |conn| {
        let heads = store::chain::lock_heads(conn).await?;
        let (head, seq) = (heads.of(Class::Security), heads.seq() + 1);
        let content = RowContent {
            class: "security",
            position: head.position + 1,
            id: event.id.into_untyped_uuid(),
            name: &event.name,
            version: event.version.into(),
            source: &event.source,
            occurred_at: event.occurred_at.timestamp_micros(),
            recorded_at: recorded_at.timestamp_micros(),
            subject_id: event.subject_id.map(GenericUuid::into_untyped_uuid),
            actor_kind: event.actor.kind.name(),
            actor_id: event.actor.id,
            actor_name: None,
            outcome: event.outcome.name(),
            severity: event.severity.name(),
            reason: None,
            target_kind: None,
            target_id: None,
            request_id: event.client.request_id.as_deref(),
            trace_id: None,
            detail: "{}",
            sealed_client: None,
            sealed_detail: None,
        };
        let row = NewRow {
            event,
            class: Class::Security,
            seq,
            position: head.position + 1,
            recorded_at,
            actor_name: None,
            detail: "{}",
            sealed_client: None,
            sealed_detail: None,
            prev_hash: head.hash,
            hash: content.hash(seq, &head.hash, &mut Vec::new()),
        };
        store::chain::append(conn, &[row], &[]).await
    })
    .await
    .unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_month_goes_when_its_time_is_over_and_the_rest_still_proves_itself() {
    let (database, notary) = old_log().await;
    let admin = database.admin();
    let retained = notary.retain(3).await.unwrap();
    assert_eq!(retained.dropped, ["events_security_2024_01", "events_security_2024_02"]);
    assert_eq!(sql::rows(&admin).await, 2);
    assert_eq!(sql::number(&admin, "(SELECT count(*) FROM event_ids)").await, 2);
    let (said, code) = cli::verify(&database, None);
    assert_eq!(code, Some(0), "{said}");
    assert!(said.contains("2 events of seq 4 to 5"), "{said}");
    assert_eq!(notary.retain(3).await.unwrap().dropped.len(), 0);

    // It is no way to make other rows disappear.
    let unlock = "ALTER TABLE events DISABLE TRIGGER append_only; DELETE FROM events WHERE seq = 4";
    sql::execute(&admin, unlock).await.unwrap();
    let (said, code) = cli::verify(&database, None);
    assert!(code == Some(3) && said.contains("DAMAGED: missing at seq 4"), "{said}");
    let forge = "ALTER TABLE dropped_partitions DISABLE TRIGGER append_only; \
                 UPDATE dropped_partitions SET (seq, position, hash) = (4, 4, \
                 (SELECT prev_hash FROM events WHERE seq = 5)) WHERE month = '2024-02-01'";
    sql::execute(&admin, forge).await.unwrap();
    let (said, code) = cli::verify(&database, None);
    assert!(code == Some(3) && said.contains("DAMAGED: signature_invalid"), "{said}");
}

#[tokio::test(flavor = "multi_thread")]
async fn nothing_goes_because_the_database_alone_says_that_its_time_is_over() {
    let (database, notary) = old_log().await;
    let last_month = "date_trunc('month', now() AT TIME ZONE 'UTC')::date";
    let admin = database.admin();
    // Whoever owns the tables can change what they say of retention, and what the serving role may drop.
    let impatient = "ALTER TABLE classes DROP CONSTRAINT IF EXISTS classes_keep_days_check; UPDATE classes SET keep_days = -400";
    sql::execute(&admin, impatient).await.unwrap();
    let may_go = format!("(SELECT count(*) FROM classes WHERE {last_month} + keep_days < now())");
    assert_eq!(sql::number(&admin, &may_go).await, 2);
    let retained = notary.retain(3).await.unwrap();
    assert_eq!(retained.dropped, ["events_security_2024_01", "events_security_2024_02"]);
    assert_eq!(sql::rows(&admin).await, 2);
}

#[tokio::test(flavor = "multi_thread")]
async fn nothing_goes_before_its_time_or_without_a_checkpoint() {
    let (database, notary) = old_log().await;
    let app = database.database("app");
    let drop = |class: &str, month: &str, seq: i64| {
        format!(
            "SELECT drop_partition('{class}', {month}, {seq}, \
             (SELECT hash FROM events WHERE seq = {seq}), 'key', decode(repeat('00', 64), 'hex'))"
        )
    };
    let this_month = "date_trunc('month', now() AT TIME ZONE 'UTC')::date";
    let refused = [
        (drop("security", "'2024-01-01'", 2), "no checkpoint covers"),
        (drop("security", "'2024-01-02'", 2), "there is no partition"),
        (drop("security", "'2023-12-01'", 2), "there is no partition"),
        (drop("other", "'2024-01-01'", 2), "there is no partition"),
        (drop("security", "'2024-02-01'", 3), "is not the oldest"),
        (drop("security", this_month, 5), "is kept for 400 days"),
    ];
    for (statement, reason) in refused {
        let refusal = sql::execute(&app, &statement).await.unwrap_err();
        assert!(refusal.contains(reason), "{statement}: {refusal}");
    }
    notary.sign_now().await.unwrap();
    let refusal = sql::execute(&app, &drop("security", "'2024-01-01'", 1)).await.unwrap_err();
    assert!(refusal.contains("the signature is not for the end"), "{refusal}");
    // The serving role cannot change for how long.
    let refusal = sql::execute(&app, "UPDATE classes SET keep_days = 35").await.unwrap_err();
    assert!(refusal.contains("permission denied"), "{refusal}");
    assert_eq!(sql::rows(&app).await, 5);
}

#[tokio::test(flavor = "multi_thread")]
async fn amq_04_a_message_that_comes_again_much_later_changes_nothing() {
    let (database, notary) = old_log().await;
    let log = log_of(&database);
    let event = parsed(&login(user()));
    record_at(&database, &event, "2024-02-03T00:00:00Z".parse().unwrap()).await;
    let rows = sql::rows(&database.admin()).await;
    assert_eq!(log.record(&vec![event; 100]).await.new_types.len(), 0);
    assert_eq!(sql::rows(&database.admin()).await, rows);
    // Nobody may set a shorter time than a message may still come again after.
    let owner = Database::new(&DatabaseSettings::new(database.owner_url(), "owner")).unwrap();
    sql::execute(&owner, "UPDATE classes SET keep_days = 34").await.unwrap_err();
    drop(notary);
}

#[tokio::test(flavor = "multi_thread")]
async fn the_command_makes_months_and_lists_them() {
    test_support::install_crypto_provider();
    let database = TestDatabase::new("audit", migrations()).await;
    let maintain = |ahead| {
        let output = cli::run(&database, None, &["partitions", "maintain", "--ahead", ahead]);
        assert!(output.status.success(), "{output:?}");
        String::from_utf8(output.stdout).unwrap()
    };
    assert_eq!(maintain("5"), "made 8 partitions\n");
    assert_eq!(maintain("5"), "made 0 partitions\n");
    let listed = String::from_utf8(cli::run(&database, None, &["partitions", "list"]).stdout).unwrap();
    assert_eq!(listed.lines().count(), 13, "{listed}");
}

#[tokio::test(flavor = "multi_thread")]
async fn migrate_up_writes_how_long_events_are_kept() {
    test_support::install_crypto_provider();
    let database = TestDatabase::new("audit", migrations()).await;
    let output =
        cli::run(&database, None, &["--audit-retention", "security=700d,routine=40d", "migrate", "up"]);
    assert!(output.status.success(), "{output:?}");
    let days = sql::number(&database.admin(), "(SELECT sum(keep_days) FROM classes)").await;
    assert_eq!(days, 740);
}
