use std::sync::{
    Arc,
    atomic::{AtomicBool, Ordering},
};

use anyhow::anyhow;
use diesel_migrations::EmbeddedMigrations;
use pg::Database;

use crate::Readiness;

/// Registers the two checks of every service, both required: "postgres", and "migrations", which is not asked again once it succeeded.
pub fn require_database(readiness: &Readiness, database: &Database, migrations: fn() -> EmbeddedMigrations) {
    let pool = database.clone();
    readiness.require("postgres", move || {
        let pool = pool.clone();
        Box::pin(async move { pool.ping().await.map_err(|error| format!("{:#}", anyhow!(error))) })
    });
    let pool = database.clone();
    let complete = Arc::new(AtomicBool::new(false));
    readiness.require("migrations", move || {
        let (pool, complete) = (pool.clone(), Arc::clone(&complete));
        Box::pin(async move {
            if complete.load(Ordering::Acquire) {
                return Ok(());
            }
            let pending = pending(&pool, migrations).await.map_err(|error| format!("{error:#}"))?;
            if !pending.is_empty() {
                return Err(format!("`migrate up` has yet to apply {}", pending.join(", ")));
            }
            complete.store(true, Ordering::Release);
            Ok(())
        })
    });
}

pub(crate) async fn pending(
    database: &Database,
    migrations: fn() -> EmbeddedMigrations,
) -> anyhow::Result<Vec<String>> {
    let mut connection = database.connection().await?;
    pg::migrate::pending(&mut connection, &migrations()).await
}
