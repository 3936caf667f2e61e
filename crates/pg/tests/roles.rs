//! What bootstrap makes, and what the roles may do with it.
#![expect(clippy::unwrap_used, reason = "a test may panic")]

use diesel_async::SimpleAsyncConnection;
use diesel_migrations::{EmbeddedMigrations, embed_migrations};
use pg::{
    Database, DatabaseSettings,
    bootstrap::{self, Bootstrap},
};
use secrecy::{ExposeSecret, SecretString};
use test_support::TestDatabase;

const MIGRATIONS: EmbeddedMigrations = embed_migrations!("tests/migrations");

async fn execute(url: SecretString, sql: &str) -> Result<(), String> {
    let pool = Database::new(&DatabaseSettings::new(url, "test")).unwrap();
    let mut connection = pool.connection().await.map_err(|error| format!("{error:?}"))?;
    connection.batch_execute(sql).await.map_err(|error| error.to_string())
}

/// Another database of the same server. Whoever bootstraps has to meet in one database, and test-support meets in this one.
fn at_server(url: &SecretString, database: &str) -> SecretString {
    let (server, _) = url.expose_secret().rsplit_once('/').unwrap();
    format!("{server}/{database}").into()
}

async fn bootstrap_schema(database: &TestDatabase, schema: &str, default_search_path: bool) {
    let bootstrap = Bootstrap {
        admin_url: &at_server(&database.admin_url(), "postgres"),
        owner_url: &database.url_as(&format!("{schema}_owner")),
        app_url: &database.url_as(&format!("{schema}_app")),
        schema,
        default_search_path,
    };
    bootstrap::run(&bootstrap).await.unwrap();
}

#[tokio::test]
async fn the_application_role_has_exactly_the_rights_that_the_migrations_left() {
    let database = TestDatabase::new("pgtest", MIGRATIONS).await;
    let app = || database.app_url();
    execute(app(), "INSERT INTO notes VALUES (1, 'a'); UPDATE notes SET text = 'b'").await.unwrap();
    for forbidden in [
        "DELETE FROM notes",
        "DROP TABLE notes",
        "CREATE TABLE more ()",
        "DELETE FROM __diesel_schema_migrations",
    ] {
        let refused = execute(app(), forbidden).await.unwrap_err();
        assert!(refused.contains("permission denied") || refused.contains("must be owner"), "{refused}");
    }
}

#[tokio::test]
async fn bootstrap_may_be_repeated_and_gives_no_right_back() {
    let database = TestDatabase::new("pgtest", MIGRATIONS).await;
    bootstrap_schema(&database, "pgtest", false).await;
    bootstrap_schema(&database, "pgtest", false).await;
    execute(database.app_url(), "DELETE FROM notes").await.unwrap_err();
    execute(database.app_url(), "SELECT FROM notes").await.unwrap();
}

#[tokio::test]
async fn services_may_bootstrap_at_once() {
    let database = TestDatabase::empty().await;
    tokio::join!(
        bootstrap_schema(&database, "pgtest_left", true),
        bootstrap_schema(&database, "pgtest_left", true),
        bootstrap_schema(&database, "pgtest_right", false),
        bootstrap_schema(&database, "pgtest_right", false),
    );
    let left_owner = database.url_as("pgtest_left_owner");
    execute(left_owner, "CREATE TABLE secrets (id int); INSERT INTO secrets VALUES (1)").await.unwrap();
    execute(database.url_as("pgtest_left_app"), "SELECT FROM secrets").await.unwrap();
    execute(database.admin_url(), "SELECT FROM secrets").await.unwrap();
    let refused = execute(database.url_as("pgtest_right_app"), "SELECT FROM pgtest_left.secrets").await;
    assert!(refused.unwrap_err().contains("permission denied for schema pgtest_left"));
}

#[tokio::test]
async fn an_owner_that_may_make_roles_bootstraps_for_itself() {
    let database = TestDatabase::empty().await;
    let become_owner = "DO $$ BEGIN
        IF NOT EXISTS (SELECT FROM pg_roles WHERE rolname = 'pgtest_self_owner') THEN
            CREATE ROLE pgtest_self_owner LOGIN CREATEROLE PASSWORD 'pgtest_self_owner';
        END IF;
        EXECUTE format('ALTER DATABASE %I OWNER TO pgtest_self_owner', current_database());
    END $$";
    execute(database.admin_url(), become_owner).await.unwrap();
    let owner_url = database.url_as("pgtest_self_owner");
    let bootstrap = Bootstrap {
        admin_url: &at_server(&owner_url, "postgres"),
        owner_url: &owner_url,
        app_url: &database.url_as("pgtest_self_app"),
        schema: "pgtest_self",
        default_search_path: false,
    };
    let left_undone = bootstrap::run(&bootstrap).await.unwrap();
    // Only a superuser may set it.
    assert!(left_undone.unwrap().contains("lc_messages"));
    execute(database.url_as("pgtest_self_owner"), "CREATE TABLE notes ()").await.unwrap();
    execute(database.url_as("pgtest_self_app"), "SELECT FROM notes").await.unwrap();
}

#[tokio::test]
async fn bootstrap_makes_the_database_too() {
    let existing = TestDatabase::empty().await;
    let name = format!("made_{}", std::process::id());
    let owner_url = at_server(&existing.url_as("pgtest_made_owner"), &name);
    let app_url = at_server(&existing.url_as("pgtest_made_app"), &name);
    let bootstrap = Bootstrap {
        admin_url: &existing.admin_url(),
        owner_url: &owner_url,
        app_url: &app_url,
        schema: "pgtest_made",
        default_search_path: false,
    };
    bootstrap::run(&bootstrap).await.unwrap();
    let connected = execute(app_url, "SELECT 1").await;
    execute(existing.admin_url(), &format!("DROP DATABASE {name} WITH (FORCE)")).await.unwrap();
    connected.unwrap();
}
