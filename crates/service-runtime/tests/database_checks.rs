//! The readiness checks of the database, on a real one.

use std::time::Duration;

use diesel_migrations::{EmbeddedMigrations, embed_migrations};
use pg::{Database, DatabaseSettings, migrate};
use service_runtime::{Lifecycle, Readiness, ReadinessStatus, ShutdownSettings, require_database};
use test_support::{TestDatabase, eventually};

const MIGRATIONS: EmbeddedMigrations = embed_migrations!("tests/migrations");
/// A busy machine may need more than the half second that a check has.
const SOON: Duration = Duration::from_secs(10);

fn readiness(database: &Database) -> Readiness {
    let shutdown = ShutdownSettings { delay: Duration::ZERO, drain: Duration::ZERO };
    let readiness = Lifecycle::new(shutdown).readiness();
    require_database(&readiness, database, || MIGRATIONS);
    readiness
}

#[tokio::test]
async fn a_database_is_ready_once_it_is_migrated() {
    let database = TestDatabase::new("runtimetest", MIGRATIONS).await;
    migrate::down(&database.owner_url(), MIGRATIONS, 1).await.unwrap();
    let readiness = readiness(&database.database("test"));
    let lacks = "`migrate up` has yet to apply 2026-11-23-000101_create_greetings";
    eventually("the pending migration", SOON, async || {
        let report = readiness.report().await;
        assert_eq!(report.status, ReadinessStatus::Unready);
        let detail = |name| report.checks.iter().find(|check| check.name == name).unwrap().detail.as_deref();
        (detail("postgres").is_none() && detail("migrations") == Some(lacks)).then_some(())
    })
    .await;

    migrate::up(&database.owner_url(), MIGRATIONS).await.unwrap();
    let ready = async || (readiness.report().await.status == ReadinessStatus::Ready).then_some(());
    eventually("readiness", SOON, ready).await;

    // What was complete once is not asked again.
    migrate::down(&database.owner_url(), MIGRATIONS, 1).await.unwrap();
    eventually("readiness", SOON, ready).await;
}

#[tokio::test]
async fn a_database_that_is_away_fails_both_checks() {
    // Nothing listens on port 1.
    let settings = DatabaseSettings::new("postgres://u:s3cr3t@127.0.0.1:1/d".into(), "test");
    let report = readiness(&Database::new(&settings).unwrap()).report().await;
    assert_eq!(report.status, ReadinessStatus::Unready);
    let checks: Vec<_> = report.checks.iter().map(|check| (check.name, check.required, check.ok)).collect();
    assert_eq!(checks, [("postgres", true, false), ("migrations", true, false)]);
    assert!(!format!("{report:?}").contains("s3cr3t"), "{report:?}");
}
