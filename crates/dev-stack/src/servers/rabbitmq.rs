use std::{
    fs,
    path::{Path, PathBuf},
    time::Duration,
};

use anyhow::{Context, ensure};
use event_bus::Permissions;
use reqwest::{Method, RequestBuilder};
use rustix::process::Signal;
use serde_json::json;
use tokio::process::Command;

use super::{Durability, with_clean_environment};
use crate::{
    daemon::Daemon,
    guard::{Account, DeathSignal, guarded},
    ports::Port,
    private_file,
    secrets::{kept, password},
};

const USER: &str = "dev";
const VHOST: &str = "feature-auth";
const NODE: &str = "feature-auth@localhost";
const SERVER: &str = "/usr/lib/rabbitmq/bin/rabbitmq-server";

/// The ports of one node.
#[derive(Debug)]
pub(crate) struct RabbitMqPorts {
    pub amqp: Port,
    pub management: Port,
    pub distribution: Port,
}

/// The account of a service, beside the administrator's.
pub(crate) struct BrokerAccount {
    pub permissions: Permissions,
    pub password: String,
}

/// A private RabbitMQ node with the management plugin.
pub(crate) struct RabbitMq {
    directory: PathBuf,
    ports: RabbitMqPorts,
    epmd_port: u16,
    password: String,
    accounts: Vec<BrokerAccount>,
    durability: Durability,
    client: reqwest::Client,
}

impl RabbitMq {
    pub(crate) fn new(
        directory: &Path,
        ports: RabbitMqPorts,
        epmd_port: u16,
        durability: Durability,
        client: reqwest::Client,
    ) -> anyhow::Result<Self> {
        private_file::directory(directory)?;
        let password = kept(&directory.join("password"), password)?;
        let accounts = Vec::new();
        Ok(Self { directory: directory.to_owned(), ports, epmd_port, password, accounts, durability, client })
    }

    /// The same node with an account for each service.
    pub(crate) fn with_accounts(self, accounts: Vec<BrokerAccount>) -> Self {
        Self { accounts, ..self }
    }

    /// The administrator's URL.
    pub(crate) fn amqp_url(&self) -> String {
        self.amqp_url_of(USER, &self.password)
    }

    pub(crate) fn amqp_url_of(&self, user: &str, password: &str) -> String {
        format!("amqp://{user}:{password}@127.0.0.1:{}/{VHOST}", self.ports.amqp.number())
    }

    /// The management API's URL with user and password.
    pub(crate) fn management_url(&self) -> String {
        format!("http://{USER}:{}@127.0.0.1:{}", self.password, self.ports.management.number())
    }

    fn data(&self) -> PathBuf {
        self.directory.join("mnesia")
    }

    /// There since the node was ready once.
    fn complete(&self) -> PathBuf {
        self.directory.join("complete")
    }

    fn management(&self, method: Method, path: &str) -> RequestBuilder {
        let url = format!("http://127.0.0.1:{}/api/{path}", self.ports.management.number());
        let request = self.client.request(method, url);
        request.basic_auth(USER, Some(&self.password)).timeout(Duration::from_secs(5))
    }

    async fn make_accounts(&self) -> anyhow::Result<()> {
        for BrokerAccount { permissions, password } in &self.accounts {
            let Permissions { service, configure, write, read } = permissions;
            let user = self.management(Method::PUT, &format!("users/{service}"));
            user.json(&json!({"password": password, "tags": ""})).send().await?.error_for_status()?;
            let granted = self.management(Method::PUT, &format!("permissions/{VHOST}/{service}"));
            let permissions = json!({"configure": configure, "write": write, "read": read});
            granted.json(&permissions).send().await?.error_for_status()?;
        }
        Ok(())
    }

    fn configuration(&self) -> String {
        format!(
            "listeners.tcp.default = 127.0.0.1:{amqp}\n\
             management.tcp.ip = 127.0.0.1\n\
             management.tcp.port = {management}\n\
             default_user = {USER}\n\
             default_pass = {password}\n\
             default_vhost = {VHOST}\n\
             loopback_users = none\n\
             vm_memory_high_watermark.absolute = 512MB\n\
             disk_free_limit.absolute = 50MB\n",
            amqp = self.ports.amqp.number(),
            management = self.ports.management.number(),
            password = self.password,
        )
    }
}

impl Daemon for RabbitMq {
    fn name(&self) -> &'static str {
        "rabbitmq"
    }

    async fn prepare(&self) -> anyhow::Result<()> {
        if self.data().exists() && !self.complete().exists() {
            // The user and the vhost are made at the first start only, and that one was cut off.
            fs::remove_dir_all(self.data()).context("cannot remove half-made RabbitMQ data")?;
        }
        private_file::write(&self.directory.join("enabled_plugins"), "[rabbitmq_management].\n")?;
        private_file::write(&self.directory.join("rabbitmq.conf"), &self.configuration())
    }

    fn command(&self) -> Command {
        let RabbitMqPorts { amqp, management, distribution } = &self.ports;
        for port in [amqp, management, distribution] {
            port.release();
        }
        let mut command = guarded(Account::Ours, Path::new(SERVER), DeathSignal::Kill);
        with_clean_environment(&mut command, &self.directory);
        let file = |name: &str| self.directory.join(name);
        command
            // The script then becomes the server instead of standing above it.
            .env("RUNNING_UNDER_SYSTEMD", "true")
            .env("ERL_EPMD_PORT", self.epmd_port.to_string())
            .env("ERL_EPMD_ADDRESS", "127.0.0.1")
            .env("RABBITMQ_NODENAME", NODE)
            .env("RABBITMQ_NODE_IP_ADDRESS", "127.0.0.1")
            .env("RABBITMQ_NODE_PORT", amqp.number().to_string())
            .env("RABBITMQ_DIST_PORT", distribution.number().to_string())
            .env("RABBITMQ_MNESIA_BASE", self.data())
            .env("RABBITMQ_LOGS", "-")
            .env("RABBITMQ_LOG_BASE", file("log"))
            .env("RABBITMQ_CONF_ENV_FILE", "/dev/null")
            .env("RABBITMQ_CONFIG_FILE", file("rabbitmq"))
            .env("RABBITMQ_ENABLED_PLUGINS_FILE", file("enabled_plugins"))
            .env("RABBITMQ_GENERATED_CONFIG_DIR", file("config"))
            .env("RABBITMQ_PID_FILE", file("pid"))
            // Every Erlang that the node starts reads this: one that starts an epmd leaves it behind.
            .env("ERL_AFLAGS", "-start_epmd false")
            // Loopback only, and no schedulers that spin on a small machine.
            .env(
                "RABBITMQ_SERVER_ADDITIONAL_ERL_ARGS",
                "-kernel inet_dist_use_interface {127,0,0,1} +S 2:2 +sbwt none +sbwtdcpu none +sbwtdio none",
            )
            .current_dir(&self.directory);
        command
    }

    async fn ready(&self) -> anyhow::Result<()> {
        let check = format!("health/checks/port-listener/{}", self.ports.amqp.number());
        let status = self.management(Method::GET, &check).send().await?.status();
        ensure!(status.is_success(), "its management API answers {status}");
        self.make_accounts().await?;
        if !self.complete().exists() {
            private_file::write(&self.complete(), "")?;
        }
        Ok(())
    }

    fn stop_signal(&self) -> Signal {
        match self.durability {
            Durability::Kept => Signal::TERM,
            Durability::ThrownAway => Signal::KILL,
        }
    }

    /// It closes its stores at once and then takes its time about nothing of ours. Killed, it repairs them at the next start.
    fn stop_patience(&self) -> Duration {
        Duration::from_secs(3)
    }
}
