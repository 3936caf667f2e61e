//! The real binary.

use std::process::{Command, Output};

use secrecy::ExposeSecret;
use tempfile::TempDir;
use test_support::TestDatabase;

use crate::running::{CHECKPOINT_KEY, CURSOR_KEYS, PERSONAL_KEYS};

/// `audit-service` with what it is configured with. There is no broker.
pub fn command(database: &TestDatabase) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_audit-service"));
    command
        .env("ENVIRONMENT", "development")
        .env("LOG_LEVEL", "error")
        .env("GRPC_PLAINTEXT", "true")
        .env("DATABASE_URL", database.app_url().expose_secret())
        .env("MIGRATIONS_DATABASE_URL", database.owner_url().expose_secret())
        .env("AMQP_URL", "amqp://127.0.0.1:1")
        .env("AUDIT_CURSOR_KEYS", CURSOR_KEYS)
        .env("AUDIT_PERSONAL_KEYS", PERSONAL_KEYS)
        .env("AUDIT_CHECKPOINT_KEY", CHECKPOINT_KEY);
    command
}

/// Runs it, and what it says.
pub fn run(database: &TestDatabase, archive: Option<&TempDir>, arguments: &[&str]) -> Output {
    let mut command = command(database);
    if let Some(archive) = archive {
        command.env("AUDIT_ARCHIVE_URL", format!("file://{}", archive.path().display()));
    }
    command.args(arguments).output().unwrap()
}

/// What `verify` says, and its exit code.
pub fn verify(database: &TestDatabase, archive: Option<&TempDir>) -> (String, Option<i32>) {
    let output = run(database, archive, &["verify"]);
    let said = [output.stdout, output.stderr].concat();
    (String::from_utf8(said).unwrap(), output.status.code())
}
