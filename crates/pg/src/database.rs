use std::time::Duration;

use deadpool::{
    Runtime,
    managed::{PoolError, TimeoutType},
};
use diesel_async::{
    AsyncPgConnection, SimpleAsyncConnection,
    pooled_connection::{self, AsyncDieselConnectionManager, ManagerConfig, RecyclingMethod},
};
use futures::FutureExt;
use prometheus::{IntGaugeVec, Opts, Registry, core::Collector};
use secrecy::SecretString;

use crate::{
    Error, Result,
    connector::{Connector, SessionSettings},
    liveness,
};

/// A connection out of the pool.
pub type Connection = pooled_connection::deadpool::Object<AsyncPgConnection>;

type Pool = pooled_connection::deadpool::Pool<AsyncPgConnection>;

/// How to reach the database and how long to wait for it.
#[derive(Debug, Clone)]
pub struct DatabaseSettings {
    /// A `postgres://` URL; `sslmode` and `sslrootcert` are honoured.
    pub url: SecretString,
    /// What `pg_stat_activity` shows.
    pub application_name: &'static str,
    /// The size of the pool, at least 1.
    pub max_connections: usize,
    /// How long a caller waits for a connection to become free, and again for a new one to be made.
    pub acquire_timeout: Duration,
    /// `statement_timeout` of every connection.
    pub statement_timeout: Duration,
    /// `lock_timeout` of every connection.
    pub lock_timeout: Duration,
    /// What a commit waits for.
    pub commit: Commit,
}

/// What a commit waits for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Commit {
    /// For what the server's `synchronous_commit` says: at least its disk, unless an operator gave that up.
    Durable,
    /// For nothing (`synchronous_commit=off`): a crash of the server may undo what was committed in about the last second, each transaction
    /// as a whole. For work that can be done again.
    Asynchronous,
}

impl DatabaseSettings {
    /// The platform's defaults: 16 connections, 500 ms for a connection, 2 s a statement, 1 s a lock, durable commits.
    #[must_use]
    pub fn new(url: SecretString, application_name: &'static str) -> Self {
        Self {
            url,
            application_name,
            max_connections: 16,
            acquire_timeout: Duration::from_millis(500),
            statement_timeout: Duration::from_secs(2),
            lock_timeout: Duration::from_secs(1),
            commit: Commit::Durable,
        }
    }
}

/// A pool of connections; clones share it.
#[derive(Clone)]
pub struct Database {
    pool: Pool,
}

impl Database {
    /// Makes the pool without connecting. Fails when the URL cannot be understood.
    pub fn new(settings: &DatabaseSettings) -> anyhow::Result<Self> {
        let session = SessionSettings {
            statement_timeout: settings.statement_timeout,
            lock_timeout: settings.lock_timeout,
            commit: settings.commit,
        };
        let connector = Connector::new(&settings.url, settings.application_name, Some(session))?;
        let mut manager = ManagerConfig::default();
        // A closed connection is noticed without asking the server, by its reader; a query per checkout would halve the
        // throughput. Silent ones are found by the hook below.
        manager.recycling_method = RecyclingMethod::Fast;
        manager.custom_setup = Box::new(move |_| {
            let connector = connector.clone();
            async move { connector.connect().await }.boxed()
        });
        // The connector knows the URL, and the pool has no other use for it.
        let pool = Pool::builder(AsyncDieselConnectionManager::new_with_config(String::new(), manager))
            .max_size(settings.max_connections.max(1))
            .wait_timeout(Some(settings.acquire_timeout))
            .create_timeout(Some(settings.acquire_timeout))
            .pre_recycle(liveness::ask_before_reuse(settings.acquire_timeout))
            .runtime(Runtime::Tokio1)
            .build()?;
        Ok(Self { pool })
    }

    /// A connection, within the acquire timeout.
    pub async fn connection(&self) -> Result<Connection> {
        self.pool.get().await.map_err(|error| match error {
            PoolError::Timeout(TimeoutType::Wait) => Error::PoolExhausted,
            PoolError::Backend(error) => Error::Unavailable(error.into()),
            error => Error::Unavailable(error.into()),
        })
    }

    /// One round trip, to learn whether the database answers.
    pub async fn ping(&self) -> Result<()> {
        Ok(self.connection().await?.batch_execute("SELECT 1").await?)
    }

    /// Registers `db_pool_connections{state}`: `in_use`, `idle`, and `waiting` for the callers that wait for one.
    pub fn register_metrics(&self, registry: &Registry) -> anyhow::Result<()> {
        let opts =
            Opts::new("db_pool_connections", "Connections of the pool, and callers that wait for one.");
        let gauges = IntGaugeVec::new(opts, &["state"])?;
        registry.register(Box::new(PoolCollector { pool: self.pool.clone(), gauges }))?;
        Ok(())
    }
}

/// Asks the pool when it is scraped, so that nothing has to keep the gauges up to date.
struct PoolCollector {
    pool: Pool,
    gauges: IntGaugeVec,
}

impl Collector for PoolCollector {
    fn desc(&self) -> Vec<&prometheus::core::Desc> {
        self.gauges.desc()
    }

    fn collect(&self) -> Vec<prometheus::proto::MetricFamily> {
        let status = self.pool.status();
        let idle = status.available;
        for (state, count) in
            [("idle", idle), ("in_use", status.size.saturating_sub(idle)), ("waiting", status.waiting)]
        {
            self.gauges.with_label_values(&[state]).set(i64::try_from(count).unwrap_or(i64::MAX));
        }
        self.gauges.collect()
    }
}
