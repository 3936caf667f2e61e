use std::{path::Path, sync::Arc, time::Instant};

use anyhow::Context;
use event_bus::PERMISSIONS;
use url::Url;

use super::{Settings, announced::Announced, stack_env::StackEnv};
use crate::{
    daemon::Daemon,
    keeper::{Group, Kept},
    mailbox::Mailbox,
    ports::Ports,
    progress::Progress,
    secrets::{Secrets, password},
    servers::{
        BrokerAccount, Durability, Epmd, Postgres, RabbitMq, RabbitMqPorts, Redis, START_PATIENCE,
        http_client,
    },
    turnstile::FakeTurnstile,
};

const DATABASE: &str = "feature_auth";

/// Who keeps servers running, and who is told of them.
pub(super) struct Keepers<'a> {
    pub names: &'a Group,
    pub servers: &'a Group,
    pub addresses: &'a Arc<StackEnv>,
}

/// What the services stand on: servers, ours or existing ones, the mail catcher and the captcha.
pub(super) struct Foundations {
    since: Instant,
    postgres: Option<Kept<Postgres>>,
    redis: Option<Kept<Announced<Redis>>>,
    rabbitmq: Option<Kept<RabbitMq>>,
    found_data: bool,
    pub mailbox: Mailbox,
    pub turnstile: FakeTurnstile,
    /// A superuser's, for making roles and databases.
    pub bootstrap_url: Url,
    /// The same superuser's, of our database.
    pub database_url: Url,
    pub redis_url: String,
    /// An administrator's.
    pub amqp_url: String,
    pub amqp_management_url: String,
    service_amqp_urls: Vec<(&'static str, String)>,
}

impl Foundations {
    /// Starts everything at once without waiting for it.
    pub(super) async fn start(
        state: &Path,
        settings: &Settings,
        secrets: &Secrets,
        ports: &mut Ports,
        keepers: &Keepers<'_>,
    ) -> anyhow::Result<Self> {
        let Keepers { names, servers, addresses } = keepers;
        let since = Instant::now();
        let kept = Durability::Kept;
        let [mailbox, smtp, turnstile] =
            [ports.take("mailbox")?, ports.take("smtp")?, ports.take("turnstile")?];
        for port in [&mailbox, &smtp, &turnstile] {
            port.release();
        }
        let mailbox = Mailbox::start(smtp.addr(), mailbox.addr()).await?;
        let turnstile = FakeTurnstile::start(turnstile.addr()).await?;

        let (mut amqp_url, mut amqp_management_url) =
            (settings.amqp_url.clone(), settings.amqp_mgmt_url.clone());
        let mut service_amqp_urls = Vec::new();
        let rabbitmq = if amqp_url.is_empty() {
            let directory = state.join("rabbitmq");
            let epmd = Epmd::new(state, ports.take("epmd")?);
            let ports = RabbitMqPorts {
                amqp: ports.take("amqp")?,
                management: ports.take("amqp-management")?,
                distribution: ports.take("amqp-distribution")?,
            };
            let rabbitmq = RabbitMq::new(&directory, ports, epmd.port(), kept, http_client()?)?;
            let mut accounts = Vec::new();
            for permissions in PERMISSIONS {
                let service = permissions.service;
                let password = secrets.keep(&format!("{service}-amqp-password"), password)?;
                service_amqp_urls.push((service, rabbitmq.amqp_url_of(service, &password)));
                accounts.push(BrokerAccount { permissions: *permissions, password });
            }
            let rabbitmq = rabbitmq.with_accounts(accounts);
            (amqp_url, amqp_management_url) = (rabbitmq.amqp_url(), rabbitmq.management_url());
            names.keep(epmd)?.ready(START_PATIENCE).await?;
            Some(servers.keep(rabbitmq)?)
        } else {
            None
        };
        let mut redis_url = settings.redis_url.clone();
        let redis = if redis_url.is_empty() {
            let redis = Redis::new(&state.join("redis"), ports.take("redis")?, kept)?;
            redis_url = redis.url();
            let announced =
                Announced { server: redis, pid_variable: "REDIS_PID", stack_env: Arc::clone(addresses) };
            Some(servers.keep(announced)?)
        } else {
            None
        };
        let (bootstrap_url, database_url, postgres) = if settings.database_url.is_empty() {
            let postgres = Postgres::new(&state.join("postgres"), ports.take("postgres")?, kept).await?;
            (postgres.url("postgres").parse()?, postgres.url(DATABASE).parse()?, Some(postgres))
        } else {
            let (bootstrap, database) = existing_database(&settings.database_url)?;
            (bootstrap, database, None)
        };
        let found_data = postgres.as_ref().is_some_and(Postgres::has_data);
        let postgres = postgres.map(|postgres| servers.keep(postgres)).transpose()?;
        Ok(Self {
            since,
            postgres,
            redis,
            rabbitmq,
            found_data,
            mailbox,
            turnstile,
            bootstrap_url,
            database_url,
            redis_url,
            amqp_url,
            amqp_management_url,
            service_amqp_urls,
        })
    }

    /// The URL of a service's account on our broker; on an existing one there is but the account that was given.
    pub(super) fn amqp_url_of(&self, service: &str) -> &str {
        let own = self.service_amqp_urls.iter().find(|(name, _)| *name == service);
        own.map_or(&self.amqp_url, |(_, url)| url)
    }

    pub(super) async fn postgres_ready(&self, progress: &Progress) -> anyhow::Result<()> {
        let data = if self.found_data { "with the data of the last time" } else { "with new data" };
        self.ready(self.postgres.as_ref(), &format!("PostgreSQL, {data}"), "DATABASE_URL", progress).await
    }

    pub(super) async fn redis_ready(&self, progress: &Progress) -> anyhow::Result<()> {
        self.ready(self.redis.as_ref(), "Redis", "REDIS_URL", progress).await
    }

    pub(super) async fn rabbitmq_ready(&self, progress: &Progress) -> anyhow::Result<()> {
        self.ready(self.rabbitmq.as_ref(), "RabbitMQ", "AMQP_URL", progress).await
    }

    async fn ready<D: Daemon>(
        &self,
        server: Option<&Kept<D>>,
        what: &str,
        variable: &str,
        progress: &Progress,
    ) -> anyhow::Result<()> {
        let Some(server) = server else {
            progress.note(&format!("using the server that {variable} names"));
            return Ok(());
        };
        server.ready(START_PATIENCE).await?;
        progress.step(self.since, what);
        Ok(())
    }
}

/// The URL as it is, and with our database where it names none of its own.
fn existing_database(url: &str) -> anyhow::Result<(Url, Url)> {
    let bootstrap: Url = url.parse().context("DATABASE_URL is no URL")?;
    let mut database = bootstrap.clone();
    if matches!(bootstrap.path(), "" | "/" | "/postgres") {
        database.set_path(DATABASE);
    }
    Ok((bootstrap, database))
}
