use session_service::migrations;
use test_support::TestDatabase;

use crate::harness::{new_database, query};

const TABLES: [&str; 5] = ["outbox", "revocations", "sessions", "signing_keys", "subjects"];

async fn tables(database: &TestDatabase) -> Vec<String> {
    let names = query(
        database,
        "SELECT tablename::text AS text FROM pg_tables WHERE schemaname = 'session' ORDER BY 1",
    );
    names.await.into_iter().filter(|name| !name.starts_with("__diesel")).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn every_migration_can_be_reverted_and_applied_again() {
    let database = new_database().await;
    let url = database.owner_url();
    assert_eq!(tables(&database).await, TABLES);
    let count = pg::migrate::status(&url, migrations()).await.unwrap().len();
    for _ in 0..count {
        assert_eq!(pg::migrate::down(&url, migrations(), 1).await.unwrap().len(), 1);
    }
    assert!(tables(&database).await.is_empty());
    assert_eq!(pg::migrate::up(&url, migrations()).await.unwrap().len(), count);
    assert_eq!(tables(&database).await, TABLES);
}
