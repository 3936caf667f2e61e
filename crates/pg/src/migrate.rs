//! A service's embedded migrations: `migrate up|down|status|history`.

use diesel_migrations::EmbeddedMigrations;
use secrecy::SecretString;

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
    /// When it was applied.
    pub applied_at: chrono::NaiveDateTime,
}

/// Applies what is pending, under an advisory lock so that replicas do not race, and says which.
pub async fn up(_url: &SecretString, _migrations: EmbeddedMigrations) -> anyhow::Result<Vec<String>> {
    todo!()
}

/// Reverts the last `count` migrations, under the same lock, and says which.
pub async fn down(_url: &SecretString, _migrations: EmbeddedMigrations, _count: usize) -> anyhow::Result<Vec<String>> {
    todo!()
}

/// Every embedded migration, the oldest first.
pub async fn status(_url: &SecretString, _migrations: EmbeddedMigrations) -> anyhow::Result<Vec<MigrationStatus>> {
    todo!()
}

/// Every migration that the database has, the oldest first.
pub async fn history(_url: &SecretString, _migrations: EmbeddedMigrations) -> anyhow::Result<Vec<AppliedMigration>> {
    todo!()
}

/// The embedded migrations that the database lacks; a service is not ready until there are none. Reads through `connection`.
pub async fn pending(
    _connection: &mut diesel_async::AsyncPgConnection,
    _migrations: &EmbeddedMigrations,
) -> anyhow::Result<Vec<String>> {
    todo!()
}
