//! Private PostgreSQL, Redis and RabbitMQ, on loopback, with their data in one directory.

mod epmd;
mod postgres;
mod rabbitmq;
mod redis;

use std::{path::Path, time::Duration};

pub(crate) use epmd::Epmd;
pub(crate) use postgres::Postgres;
pub(crate) use rabbitmq::{BrokerAccount, RabbitMq, RabbitMqPorts};
pub(crate) use redis::Redis;
use tokio::process::Command;

/// A cold machine reads RabbitMQ from a slow disk.
pub(crate) const START_PATIENCE: Duration = Duration::from_mins(2);

/// What a server's data is worth.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Durability {
    /// Survives a power cut.
    Kept,
    /// Thrown away with the server: nothing waits for the disk.
    ThrownAway,
}

/// Servers see nothing of our environment but where programs are.
fn with_clean_environment(command: &mut Command, home: &Path) {
    command.env_clear().env("PATH", SERVER_PATH).env("LC_ALL", "C.UTF-8").env("HOME", home);
}

/// Debian's, with the directories that an ordinary user's `PATH` leaves out.
const SERVER_PATH: &str = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";

/// A client for things on this machine, whatever proxies the environment names.
pub(crate) fn http_client() -> anyhow::Result<reqwest::Client> {
    let timeout = Duration::from_secs(2);
    Ok(reqwest::Client::builder().no_proxy().connect_timeout(timeout).timeout(timeout).build()?)
}
