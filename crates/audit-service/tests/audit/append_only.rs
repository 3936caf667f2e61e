use audit_service::startup::migrations;
use pg::{Database, DatabaseSettings};
use test_support::TestDatabase;

use crate::{
    facts::{login, parsed, user},
    running::log_of,
    sql,
};

const CHANGES: &[&str] = &[
    "UPDATE events SET reason = 'edited'",
    "UPDATE events SET reason = 'edited' WHERE false",
    "DELETE FROM events",
    "TRUNCATE events",
    "WITH gone AS (DELETE FROM events RETURNING *) SELECT count(*) FROM gone",
    "INSERT INTO events SELECT * FROM events ON CONFLICT (seq, class, recorded_at) DO UPDATE SET reason = 'edited'",
];

async fn a_log_with_one_row() -> TestDatabase {
    test_support::install_crypto_provider();
    let database = TestDatabase::new("audit", migrations()).await;
    log_of(&database).record(&[parsed(&login(user()))]).await;
    assert_eq!(sql::rows(&database.admin()).await, 1);
    database
}

/// This month's partition of the class that has the row.
async fn leaf(database: &TestDatabase) -> String {
    let month = sql::number(&database.admin(), "to_char(now() AT TIME ZONE 'UTC', 'YYYYMM')::bigint").await;
    format!("events_security_{}_{:02}", month / 100, month % 100)
}

#[tokio::test(flavor = "multi_thread")]
async fn aud_02_the_serving_role_may_only_add_and_read() {
    let database = a_log_with_one_row().await;
    let app = database.database("test");
    let more = [
        "DROP TABLE events",
        "ALTER TABLE events DISABLE TRIGGER append_only",
        "DROP TRIGGER append_only ON events",
        "DROP TABLE checkpoints",
        "UPDATE checkpoints SET seq = 0",
        "DELETE FROM checkpoints",
        "INSERT INTO dropped_partitions SELECT * FROM dropped_partitions",
        "DELETE FROM event_ids",
        "UPDATE event_ids SET seq = 0",
        "DELETE FROM chain_heads",
        "DELETE FROM subject_keys",
        "UPDATE subject_keys SET subject_id = gen_random_uuid()",
        "DELETE FROM shared_keys",
        "UPDATE classes SET keep_days = 35",
        "CREATE OR REPLACE FUNCTION refuse_change() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN RETURN NEW; END'",
        "SET session_replication_role = replica",
    ];
    // A partition by its name is no way past the grants of the whole.
    let leaf = leaf(&database).await;
    let of_leaf = [
        "SELECT FROM {}",
        "INSERT INTO {} SELECT * FROM events",
        "UPDATE {} SET reason = 'edited'",
        "DELETE FROM {}",
        "TRUNCATE {}",
    ];
    let of_leaf: Vec<String> = of_leaf.iter().map(|change| change.replace("{}", &leaf)).collect();
    let changes = CHANGES.iter().chain(&more).copied().chain(of_leaf.iter().map(String::as_str));
    for change in changes {
        let refusal = sql::execute(&app, change).await.unwrap_err();
        let expected = ["permission denied", "must be owner"];
        assert!(expected.iter().any(|expected| refusal.contains(expected)), "{change}: {refusal}");
    }
    assert_eq!(sql::rows(&app).await, 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn aud_02_the_trigger_refuses_even_the_owner_and_the_superuser() {
    let database = a_log_with_one_row().await;
    let owner = Database::new(&DatabaseSettings::new(database.owner_url(), "owner")).unwrap();
    let admin = database.admin();
    let leaf = leaf(&database).await;
    for table in ["events", "events_security", &leaf] {
        for change in CHANGES.iter().map(|change| change.replace("events", table)) {
            refuses_everybody(&owner, &admin, &change).await;
        }
    }
    assert_eq!(sql::rows(&admin).await, 1);
}

async fn refuses_everybody(owner: &Database, admin: &Database, change: &str) {
    let as_replica = format!("SET session_replication_role = replica; {change}");
    for (who, database, change) in [("owner", owner, change), ("superuser", admin, &*as_replica)] {
        let refusal = sql::execute(database, change).await.unwrap_err();
        assert!(refusal.contains("the audit log is append-only"), "{who}: {change}: {refusal}");
    }
}
