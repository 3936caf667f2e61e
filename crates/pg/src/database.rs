use std::time::Duration;

use diesel_async::{AsyncPgConnection, pooled_connection::deadpool};
use secrecy::SecretString;

use crate::Result;

/// A connection out of the pool.
pub type Connection = deadpool::Object<AsyncPgConnection>;

/// How to reach the database and how long to wait for it.
#[derive(Debug, Clone)]
pub struct DatabaseSettings {
    /// A `postgres://` URL; `sslmode` and `sslrootcert` are honoured.
    pub url: SecretString,
    /// What `pg_stat_activity` shows.
    pub application_name: &'static str,
    /// The size of the pool, at least 1.
    pub max_connections: usize,
    /// How long a caller waits for a connection.
    pub acquire_timeout: Duration,
    /// `statement_timeout` of every connection.
    pub statement_timeout: Duration,
    /// `lock_timeout` of every connection.
    pub lock_timeout: Duration,
}

impl DatabaseSettings {
    /// The platform's defaults: 16 connections, 500 ms for a connection, 2 s a statement, 1 s a lock.
    #[must_use]
    pub fn new(url: SecretString, application_name: &'static str) -> Self {
        Self {
            url,
            application_name,
            max_connections: 16,
            acquire_timeout: Duration::from_millis(500),
            statement_timeout: Duration::from_secs(2),
            lock_timeout: Duration::from_secs(1),
        }
    }
}

/// A pool of connections; clones share it.
#[derive(Clone)]
pub struct Database {
    pool: deadpool::Pool<AsyncPgConnection>,
}

impl Database {
    /// Makes the pool without connecting. Fails when the URL cannot be understood.
    pub fn new(_settings: &DatabaseSettings) -> anyhow::Result<Self> {
        todo!()
    }

    /// A connection, within the acquire timeout.
    pub async fn connection(&self) -> Result<Connection> {
        todo!()
    }

    /// One round trip, to learn whether the database answers.
    pub async fn ping(&self) -> Result<()> {
        todo!()
    }
}
