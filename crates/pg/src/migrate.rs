//! A service's embedded migrations: `migrate up|down|status|history`.
//!
//! Under PgBouncer these need a URL that goes to the server itself: the lock belongs to the session.

use std::collections::HashMap;

use anyhow::Context;
use chrono::NaiveDateTime;
use diesel::{
    migration::{Migration, MigrationSource},
    pg::Pg,
    sql_types::{Text, Timestamp},
};
use diesel_async::{
    AsyncPgConnection, RunQueryDsl, SimpleAsyncConnection, async_connection_wrapper::AsyncConnectionWrapper,
};
use diesel_migrations::{EmbeddedMigrations, MigrationHarness};
use secrecy::SecretString;

use crate::connector::Connector;

/// Waits as long as another replica migrates. Two services may migrate at once.
const TAKE_TURNS: &str = "SELECT pg_advisory_lock(hashtext('migrate'), hashtext(current_schema()))";

/// A migration that waits for a lock makes everybody else wait behind it, so it gives up and is tried again.
const GIVE_UP_EARLY: &str = "SET lock_timeout = '5s'";

/// The application role may look which migrations there are, and nothing else.
const PROTECT_BOOKKEEPING: &str = "DO $$ BEGIN
    IF EXISTS (SELECT FROM pg_roles WHERE rolname = current_schema() || '_rw') THEN
        EXECUTE format('REVOKE INSERT, UPDATE, DELETE ON __diesel_schema_migrations FROM %I', current_schema() || '_rw');
    END IF;
END $$";

/// The state of one migration.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MigrationStatus {
    /// The version, the folder's leading timestamp.
    pub version: String,
    /// The folder's name.
    pub name: String,
    /// Whether the database has it.
    pub applied: bool,
}

/// A migration that the database has.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AppliedMigration {
    /// The version.
    pub version: String,
    /// The name; `None` for one of a later release.
    pub name: Option<String>,
    /// When it was applied, in UTC: the driver sets that time zone for every session.
    pub applied_at: NaiveDateTime,
}

/// Applies what is pending, under an advisory lock so that replicas do not race, and says which.
pub async fn up(url: &SecretString, migrations: EmbeddedMigrations) -> anyhow::Result<Vec<String>> {
    exclusively(url, move |connection| {
        let pending = connection.pending_migrations(migrations).map_err(anyhow::Error::from_boxed)?;
        pending.iter().map(|migration| run(connection, migration.as_ref())).collect()
    })
    .await
}

/// Reverts the last `count` migrations, under the same lock, and says which.
pub async fn down(
    url: &SecretString,
    migrations: EmbeddedMigrations,
    count: usize,
) -> anyhow::Result<Vec<String>> {
    exclusively(url, move |connection| {
        let embedded = MigrationSource::<Pg>::migrations(&migrations).map_err(anyhow::Error::from_boxed)?;
        let applied = connection.applied_migrations().map_err(anyhow::Error::from_boxed)?;
        applied
            .iter()
            .take(count)
            .map(|version| {
                let migration =
                    embedded.iter().find(|it| it.name().version() == *version).with_context(|| {
                        format!("migration {version} is of a later release; only that can revert it")
                    })?;
                revert(connection, migration.as_ref())
            })
            .collect()
    })
    .await
}

/// Every embedded migration, the oldest first.
pub async fn status(
    url: &SecretString,
    migrations: EmbeddedMigrations,
) -> anyhow::Result<Vec<MigrationStatus>> {
    let embedded = embedded(&migrations)?;
    let applied = applied(&mut connect(url).await?).await?;
    Ok(embedded
        .into_iter()
        .map(|(version, name)| {
            let applied = applied.iter().any(|row| row.version == version);
            MigrationStatus { version, name, applied }
        })
        .collect())
}

/// Every migration that the database has, the oldest first.
pub async fn history(
    url: &SecretString,
    migrations: EmbeddedMigrations,
) -> anyhow::Result<Vec<AppliedMigration>> {
    let mut names: HashMap<_, _> = embedded(&migrations)?.into_iter().collect();
    let applied = applied(&mut connect(url).await?).await?;
    Ok(applied
        .into_iter()
        .map(|row| AppliedMigration {
            name: names.remove(&row.version),
            version: row.version,
            applied_at: row.run_on,
        })
        .collect())
}

/// The embedded migrations that the database lacks; a service is not ready until there are none. Reads through `connection`.
pub async fn pending(
    connection: &mut AsyncPgConnection,
    migrations: &EmbeddedMigrations,
) -> anyhow::Result<Vec<String>> {
    let embedded = embedded(migrations)?;
    let applied = applied(connection).await?;
    Ok(embedded
        .into_iter()
        .filter(|(version, _)| !applied.iter().any(|row| row.version == *version))
        .map(|(_, name)| name)
        .collect())
}

async fn connect(url: &SecretString) -> anyhow::Result<AsyncPgConnection> {
    let connector = Connector::new(url, "migrate", None)?;
    connector.connect().await.context("cannot connect to the database")
}

/// Does `work` on a connection that holds the lock; closing it lets the lock go.
async fn exclusively<T: Send + 'static>(
    url: &SecretString,
    work: impl FnOnce(&mut AsyncConnectionWrapper<AsyncPgConnection>) -> anyhow::Result<T> + Send + 'static,
) -> anyhow::Result<T> {
    let mut connection = connect(url).await?;
    connection.batch_execute(TAKE_TURNS).await?;
    connection.batch_execute(GIVE_UP_EARLY).await?;
    // Diesel's migrations are synchronous. On a blocking thread they work under either flavour of runtime.
    tokio::task::spawn_blocking(move || {
        let mut connection = AsyncConnectionWrapper::from(connection);
        let outcome = work(&mut connection)?;
        diesel::connection::SimpleConnection::batch_execute(&mut connection, PROTECT_BOOKKEEPING)?;
        Ok(outcome)
    })
    .await?
}

fn run(
    connection: &mut AsyncConnectionWrapper<AsyncPgConnection>,
    migration: &dyn Migration<Pg>,
) -> anyhow::Result<String> {
    let name = migration.name().to_string();
    connection
        .run_migration(migration)
        .map_err(anyhow::Error::from_boxed)
        .with_context(|| format!("migration {name} failed"))?;
    Ok(name)
}

fn revert(
    connection: &mut AsyncConnectionWrapper<AsyncPgConnection>,
    migration: &dyn Migration<Pg>,
) -> anyhow::Result<String> {
    let name = migration.name().to_string();
    connection
        .revert_migration(migration)
        .map_err(anyhow::Error::from_boxed)
        .with_context(|| format!("reverting migration {name} failed"))?;
    Ok(name)
}

/// Version and name of the embedded migrations, the oldest first.
fn embedded(migrations: &EmbeddedMigrations) -> anyhow::Result<Vec<(String, String)>> {
    let migrations = MigrationSource::<Pg>::migrations(migrations).map_err(anyhow::Error::from_boxed)?;
    let mut names: Vec<_> =
        migrations.iter().map(|it| (it.name().version().to_string(), it.name().to_string())).collect();
    names.sort();
    Ok(names)
}

#[derive(diesel::QueryableByName)]
struct AppliedRow {
    #[diesel(sql_type = Text)]
    version: String,
    #[diesel(sql_type = Timestamp)]
    run_on: NaiveDateTime,
}

/// Unlike diesel's harness this makes no table, so the application role may ask too.
async fn applied(connection: &mut AsyncPgConnection) -> anyhow::Result<Vec<AppliedRow>> {
    let exists = diesel::sql_query(
        "SELECT FROM pg_tables WHERE schemaname = current_schema() AND tablename = '__diesel_schema_migrations'",
    );
    if exists.execute(connection).await? == 0 {
        return Ok(Vec::new());
    }
    let rows = diesel::sql_query("SELECT version, run_on FROM __diesel_schema_migrations ORDER BY version");
    Ok(rows.load(connection).await?)
}
