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
    "INSERT INTO events SELECT * FROM events ON CONFLICT (id) DO UPDATE SET reason = 'edited'",
];

async fn a_log_with_one_row() -> TestDatabase {
    test_support::install_crypto_provider();
    let database = TestDatabase::new("audit", migrations()).await;
    log_of(&database).record(&[parsed(&login(user()))]).await;
    assert_eq!(sql::rows(&database.admin()).await, 1);
    database
}

#[tokio::test(flavor = "multi_thread")]
async fn the_serving_role_may_only_add_and_read() {
    let database = a_log_with_one_row().await;
    let app = database.database("test");
    let more = [
        "DROP TABLE events",
        "ALTER TABLE events DISABLE TRIGGER events_append_only",
        "DROP TRIGGER events_append_only ON events",
        "CREATE OR REPLACE FUNCTION refuse_change() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN RETURN NEW; END'",
        "SET session_replication_role = replica",
        "ALTER SEQUENCE events_seq_seq RESTART",
        "INSERT INTO events (seq) VALUES (1)",
    ];
    for change in CHANGES.iter().chain(&more) {
        let refusal = sql::execute(&app, change).await.unwrap_err();
        let expected = ["permission denied", "must be owner", "cannot insert a non-DEFAULT value"];
        assert!(expected.iter().any(|expected| refusal.contains(expected)), "{change}: {refusal}");
    }
    assert_eq!(sql::rows(&app).await, 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn the_trigger_refuses_even_the_owner_and_the_superuser() {
    let database = a_log_with_one_row().await;
    let owner = Database::new(&DatabaseSettings::new(database.owner_url(), "owner")).unwrap();
    let admin = database.admin();
    for change in CHANGES {
        let as_replica = format!("SET session_replication_role = replica; {change}");
        for (who, database, change) in [("owner", &owner, *change), ("superuser", &admin, &*as_replica)] {
            let refusal = sql::execute(database, change).await.unwrap_err();
            let expected = ["the audit log is append-only", "cannot insert a non-DEFAULT value"];
            assert!(expected.iter().any(|expected| refusal.contains(expected)), "{who}: {change}: {refusal}");
        }
    }
    assert_eq!(sql::rows(&admin).await, 1);
}
