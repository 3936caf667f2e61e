//! The pool keeps its deadlines, and errors have the class that callers act on.
#![expect(clippy::unwrap_used, reason = "a test may panic")]

use std::time::{Duration, Instant};

use diesel::{dsl::sql, sql_types::Bool};
use diesel_async::{AsyncConnection, RunQueryDsl, SimpleAsyncConnection};
use diesel_migrations::{EmbeddedMigrations, embed_migrations};
use futures::future::{join_all, try_join_all};
use pg::{AsyncPgConnection, Commit, Database, DatabaseSettings, Error};
use secrecy::SecretString;
use test_support::{Proxy, TestDatabase, eventually};
use tokio::time::timeout;

const MIGRATIONS: EmbeddedMigrations = embed_migrations!("tests/migrations");

fn pool(url: SecretString, change: impl FnOnce(&mut DatabaseSettings)) -> Database {
    let mut settings = DatabaseSettings { max_connections: 1, ..DatabaseSettings::new(url, "test") };
    change(&mut settings);
    Database::new(&settings).unwrap()
}

async fn execute(connection: &mut AsyncPgConnection, sql: &str) -> pg::Result<()> {
    Ok(connection.batch_execute(sql).await?)
}

#[tokio::test]
async fn a_caller_waits_no_longer_than_the_acquire_timeout() {
    let database = TestDatabase::empty().await;
    let pool = pool(database.admin_url(), |settings| settings.acquire_timeout = Duration::from_millis(200));
    let held = pool.connection().await.unwrap();
    let begin = Instant::now();
    assert!(matches!(pool.connection().await.err().unwrap(), Error::PoolExhausted));
    assert!(begin.elapsed() < Duration::from_secs(1));
    drop(held);
    pool.ping().await.unwrap();
}

#[tokio::test]
async fn a_server_that_is_away_is_noticed_quickly() {
    // Port 1 refuses; 192.0.2.0/24 is reserved for documentation, and nobody answers there.
    for url in ["postgres://u:p@127.0.0.1:1/d", "postgres://u:p@192.0.2.1/d?sslmode=disable"] {
        let begin = Instant::now();
        let error = pool(url.into(), |_| ()).ping().await.unwrap_err();
        assert!(matches!(error, Error::Unavailable(_)), "{error:?}");
        assert!(error.is_transient());
        assert!(begin.elapsed() < Duration::from_secs(1));
    }
}

#[tokio::test]
async fn only_who_asks_for_it_commits_asynchronously() {
    let database = TestDatabase::empty().await;
    for (commit, asked_for) in [(Commit::Durable, false), (Commit::Asynchronous, true)] {
        let pool = pool(database.admin_url(), |settings| settings.commit = commit);
        let query = "(SELECT setting = 'off' AND source = 'client' FROM pg_settings WHERE name = 'synchronous_commit')";
        let mut connection = pool.connection().await.unwrap();
        let is_off: bool = diesel::select(sql::<Bool>(query)).get_result(&mut connection).await.unwrap();
        assert_eq!(is_off, asked_for, "{commit:?}");
    }
}

/// Connections that stay open while nobody answers on them, as after a failover behind a proxy.
#[tokio::test]
async fn silent_connections_are_replaced_all_at_once() {
    const CONNECTIONS: usize = 8;
    let database = TestDatabase::empty().await;
    let server = Proxy::present(&database.admin_url()).await;
    let pool = pool(server.url(), |settings| settings.max_connections = CONNECTIONS);
    let held = try_join_all((0..CONNECTIONS).map(|_| pool.connection())).await.unwrap();
    server.fall_silent();
    let waiting = held.into_iter().map(|mut connection| async move {
        timeout(Duration::from_millis(1_100), execute(&mut connection, "SELECT 1")).await
    });
    assert!(join_all(waiting).await.iter().all(Result::is_err));
    server.talk_again();

    let begin = Instant::now();
    pool.ping().await.unwrap();
    for _ in 0..CONNECTIONS * 2 {
        pool.ping().await.unwrap();
    }
    // One of them was waited for, for the acquire timeout.
    assert!(begin.elapsed() < Duration::from_millis(1_500), "{:?}", begin.elapsed());
}

/// A server that is frozen, or lost by a proxy: its side acknowledges every packet.
#[tokio::test]
async fn a_statement_whose_answer_never_comes_ends_and_its_caller_may_try_again() {
    let database = TestDatabase::empty().await;
    let server = Proxy::present(&database.admin_url()).await;
    let pool = pool(server.url(), |settings| settings.statement_timeout = Duration::from_millis(300));
    let mut connection = pool.connection().await.unwrap();
    execute(&mut connection, "SELECT 1").await.unwrap();
    server.fall_silent();
    let asked = timeout(Duration::from_secs(10), execute(&mut connection, "SELECT 1"));
    let error = asked.await.expect("it ends").unwrap_err();
    assert!(error.is_transient(), "{error:?}");
    server.talk_again();
    drop(connection);
    pool.ping().await.unwrap();
}

#[tokio::test]
async fn a_connection_that_the_server_closed_is_replaced() {
    let database = TestDatabase::empty().await;
    let pool = pool(database.admin_url(), |_| ());
    let closed =
        pool.connection().await.unwrap().batch_execute("SELECT pg_terminate_backend(pg_backend_pid())").await;
    let error = Error::from(closed.unwrap_err());
    assert!(matches!(error, Error::Unavailable(_)), "{error:?}");
    // The reader of the closed connection needs a moment to see the end.
    eventually("a new connection", Duration::from_secs(5), async || pool.ping().await.ok()).await;
}

#[tokio::test]
async fn a_connection_that_is_lost_before_the_commit_is_no_defect() {
    let database = TestDatabase::empty().await;
    let doomed = pool(database.admin_url(), |settings| settings.application_name = "doomed");
    let other = pool(database.admin_url(), |_| ());
    let mut doomed = doomed.connection().await.unwrap();
    let outcome = doomed
        .transaction(async |conn| {
            execute(conn, "CREATE TABLE lost ()").await?;
            let terminate = "SELECT pg_terminate_backend(pid, 5000) FROM pg_stat_activity
                WHERE application_name = 'doomed' AND datname = current_database()";
            execute(&mut *other.connection().await?, terminate).await
        })
        .await;
    let error = outcome.unwrap_err();
    assert!(matches!(error, Error::Unavailable(_)), "{error:?}");
}

#[tokio::test]
async fn a_slow_statement_and_a_held_lock_are_timeouts() {
    let database = TestDatabase::new("pgtest", MIGRATIONS).await;
    let limits = |settings: &mut DatabaseSettings| {
        settings.statement_timeout = Duration::from_millis(300);
        settings.lock_timeout = Duration::from_millis(100);
    };
    let (one, two) = (pool(database.app_url(), limits), pool(database.app_url(), limits));
    let (mut one, mut two) = (one.connection().await.unwrap(), two.connection().await.unwrap());

    let error = execute(&mut one, "SELECT pg_sleep(5)").await.unwrap_err();
    assert!(matches!(error, Error::Timeout(_)), "{error:?}");

    execute(&mut one, "INSERT INTO notes VALUES (1, 'a')").await.unwrap();
    execute(&mut one, "BEGIN; UPDATE notes SET text = 'b'").await.unwrap();
    let error = execute(&mut two, "UPDATE notes SET text = 'c'").await.unwrap_err();
    assert!(matches!(error, Error::Timeout(_)), "{error:?}");
    let error = execute(&mut two, "SELECT FROM notes FOR UPDATE NOWAIT").await.unwrap_err();
    assert!(matches!(error, Error::Timeout(_)), "{error:?}");
}

#[tokio::test]
async fn a_unique_violation_names_its_constraint_and_anything_else_is_a_defect() {
    let database = TestDatabase::new("pgtest", MIGRATIONS).await;
    let pool = database.database("test");
    let mut connection = pool.connection().await.unwrap();
    let error = execute(&mut connection, "INSERT INTO notes VALUES (1, 'a'), (2, 'a')").await.unwrap_err();
    assert!(error.violates("notes_text_unique"), "{error:?}");
    assert!(!error.is_transient());
    let error = execute(&mut connection, "SELECT nothing").await.unwrap_err();
    assert!(matches!(error, Error::Query(_)), "{error:?}");
}

#[derive(Debug, thiserror::Error)]
enum UseCaseError {
    #[error(transparent)]
    Database(#[from] Error),
    #[error("refused")]
    Refused,
}
pg::leaves_transactions!(UseCaseError);

#[tokio::test]
async fn an_error_of_a_use_case_rolls_its_transaction_back() {
    let database = TestDatabase::new("pgtest", MIGRATIONS).await;
    let pool = database.database("test");
    let mut connection = pool.connection().await.unwrap();
    let outcome: Result<(), _> = connection
        .transaction(async |conn| {
            execute(conn, "INSERT INTO notes VALUES (1, 'a')").await?;
            Err(UseCaseError::Refused)
        })
        .await;
    assert!(matches!(outcome, Err(UseCaseError::Refused)));
    execute(&mut connection, "INSERT INTO notes VALUES (1, 'a')").await.unwrap();
}

#[tokio::test]
async fn the_metrics_count_connections() {
    let database = TestDatabase::empty().await;
    let pool = database.admin();
    let registry = prometheus::Registry::new();
    pool.register_metrics(&registry).unwrap();
    let _held = pool.connection().await.unwrap();
    let text = prometheus::TextEncoder::new().encode_to_string(&registry.gather()).unwrap();
    assert!(text.contains("db_pool_connections{state=\"in_use\"} 1"), "{text}");
}
