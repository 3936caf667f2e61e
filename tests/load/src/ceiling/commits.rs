//! PostgreSQL alone: updates of one row, each committed.

use std::time::Duration;

use anyhow::Context;
use tokio::task::JoinSet;
use tokio_postgres::{Client as Postgres, NoTls, Statement};

use crate::{Client, Outcome, Timing, closed_loop};

const TABLE: &str = "
    CREATE SCHEMA IF NOT EXISTS load;
    CREATE TABLE IF NOT EXISTS load.counters (id integer PRIMARY KEY, value bigint NOT NULL, changed_at timestamptz NOT NULL);
    INSERT INTO load.counters SELECT number, 0, now() FROM generate_series(1, 1000) AS numbers (number) ON CONFLICT DO NOTHING";

/// Updates for so long over so many connections, each of them a row of its own; the commits a second.
pub async fn rate(database_url: &str, connections: usize, duration: Duration) -> anyhow::Result<f64> {
    let mut committers = Vec::new();
    for number in 1..=i32::try_from(connections)? {
        committers.push(Committer::connect(database_url, number).await?);
    }
    Ok(closed_loop(committers, Timing::after_warm_up(duration)).await.good_per_second())
}

/// A connection with its row.
struct Committer {
    postgres: Postgres,
    update: Statement,
    row: i32,
    /// Reads and writes; ends with this value.
    _driver: JoinSet<()>,
}

impl Committer {
    async fn connect(database_url: &str, row: i32) -> anyhow::Result<Self> {
        let (postgres, connection) =
            tokio_postgres::connect(database_url, NoTls).await.context("cannot connect to PostgreSQL")?;
        let mut driver = JoinSet::new();
        driver.spawn(async move {
            connection.await.ok();
        });
        if row == 1 {
            postgres.batch_execute(TABLE).await.context("cannot make the table")?;
        }
        let update = "UPDATE load.counters SET value = value + 1, changed_at = now() WHERE id = $1";
        let update = postgres.prepare(update).await?;
        Ok(Self { postgres, update, row, _driver: driver })
    }
}

impl Client for Committer {
    async fn request(&mut self) -> Outcome {
        match self.postgres.execute(&self.update, &[&self.row]).await {
            Ok(_) => Outcome::Grpc(0),
            Err(_) => Outcome::Silence,
        }
    }
}
