//! `migrate up`, `down`, `status` and `history` on a real server.

use diesel_async::{RunQueryDsl, SimpleAsyncConnection};
use diesel_migrations::{EmbeddedMigrations, embed_migrations};
use pg::migrate;
use test_support::TestDatabase;

const MIGRATIONS: EmbeddedMigrations = embed_migrations!("tests/migrations");

const CREATE: &str = "2026-11-23-000101_create_notes";
const PROTECT: &str = "2026-11-23-000102_protect_notes";

#[tokio::test]
async fn up_down_up_comes_back_to_the_same_place() {
    let database = TestDatabase::new("pgtest", MIGRATIONS).await;
    let owner = database.owner_url();
    assert!(migrate::up(&owner, MIGRATIONS).await.unwrap().is_empty());
    assert_eq!(migrate::down(&owner, MIGRATIONS, 5).await.unwrap(), [PROTECT, CREATE]);
    let status = migrate::status(&owner, MIGRATIONS).await.unwrap();
    assert!(status.iter().all(|it| !it.applied));
    assert_eq!(migrate::up(&owner, MIGRATIONS).await.unwrap(), [CREATE, PROTECT]);
    let status = migrate::status(&owner, MIGRATIONS).await.unwrap();
    assert_eq!(status[0].version, "20261123000101");
    assert!(status.iter().all(|it| it.applied));
    let history = migrate::history(&owner, MIGRATIONS).await.unwrap();
    assert_eq!(history[1].name.as_deref(), Some(PROTECT));
}

#[tokio::test]
async fn the_history_is_in_utc_whatever_the_time_zone_of_the_server_is() {
    let database = TestDatabase::new("pgtest", MIGRATIONS).await;
    let pool = database.admin();
    let mut connection = pool.connection().await.unwrap();
    let far_east = "DO $$ BEGIN
        EXECUTE format('ALTER DATABASE %I SET TimeZone TO %L', current_database(), 'Asia/Tokyo');
    END $$";
    connection.batch_execute(far_east).await.unwrap();
    migrate::down(&database.owner_url(), MIGRATIONS, 1).await.unwrap();
    migrate::up(&database.owner_url(), MIGRATIONS).await.unwrap();
    let just_now = diesel::sql_query(
        "SELECT FROM __diesel_schema_migrations WHERE version = '20261123000102'
            AND run_on AT TIME ZONE 'UTC' BETWEEN now() - interval '1 hour' AND now()",
    );
    assert_eq!(just_now.execute(&mut connection).await.unwrap(), 1);
}

#[tokio::test]
async fn replicas_that_migrate_at_once_do_it_once() {
    let database = TestDatabase::new("pgtest", MIGRATIONS).await;
    let owner = database.owner_url();
    migrate::down(&owner, MIGRATIONS, 2).await.unwrap();
    let (one, two, three) = tokio::join!(
        migrate::up(&owner, MIGRATIONS),
        migrate::up(&owner, MIGRATIONS),
        migrate::up(&owner, MIGRATIONS),
    );
    let mut counts = [one, two, three].map(|applied| applied.unwrap().len());
    counts.sort_unstable();
    assert_eq!(counts, [0, 0, 2]);
}

#[tokio::test]
async fn the_application_role_sees_what_is_pending() {
    let database = TestDatabase::new("pgtest", MIGRATIONS).await;
    migrate::down(&database.owner_url(), MIGRATIONS, 1).await.unwrap();
    let pool = database.database("test");
    let mut connection = pool.connection().await.unwrap();
    assert_eq!(migrate::pending(&mut connection, &MIGRATIONS).await.unwrap(), [PROTECT]);
}

#[tokio::test]
async fn an_empty_database_lacks_everything_and_asking_makes_nothing() {
    let database = TestDatabase::empty().await;
    let pool = database.admin();
    let mut connection = pool.connection().await.unwrap();
    assert_eq!(migrate::pending(&mut connection, &MIGRATIONS).await.unwrap(), [CREATE, PROTECT]);
    assert!(migrate::history(&database.admin_url(), MIGRATIONS).await.unwrap().is_empty());
}
