//! The whole platform on this machine: servers, mail catcher, captcha and the four services.

mod announced;
mod environment;
mod foundations;
mod identities;
mod service;
mod stack_env;
mod wiring;

use std::{
    path::Path,
    process::ExitCode,
    sync::Arc,
    time::{Duration, Instant},
};

use anyhow::{Context, ensure};
use foundations::{Foundations, Keepers};
use service::{Replica, Service, ServiceName};
use stack_env::StackEnv;
use wiring::Wiring;

use crate::{
    checkout::{Checkout, programs},
    daemon::Daemon,
    interrupt::Interrupts,
    keeper::Group,
    logs::Logs,
    packages::{self, Purpose},
    ports::Ports,
    progress::Progress,
    secrets::Secrets,
    servers::http_client,
};

/// A debug build on a busy machine; a release is ready in a second.
const SERVICE_PATIENCE: Duration = Duration::from_mins(1);

/// What can be chosen. Everything else in the environment reaches the services as it is.
#[derive(Debug, clap::Args)]
pub(crate) struct Settings {
    /// A superuser's URL of an existing PostgreSQL, instead of a private one
    #[arg(long, env = "DATABASE_URL", hide_env_values = true, default_value = "")]
    database_url: String,
    /// An existing Redis, instead of a private one
    #[arg(long, env = "REDIS_URL", hide_env_values = true, default_value = "")]
    redis_url: String,
    /// An existing RabbitMQ, instead of a private one
    #[arg(long, env = "AMQP_URL", hide_env_values = true, default_value = "")]
    amqp_url: String,
    /// The management API of that RabbitMQ; only handed on in stack.env
    #[arg(long, env = "AMQP_MGMT_URL", hide_env_values = true, default_value = "")]
    amqp_mgmt_url: String,
    /// The first administrator's address
    #[arg(long, env = "ADMIN_EMAIL", default_value = "admin@example.com")]
    admin_email: String,
    /// The first administrator's password; a random one is kept in .dev/secrets otherwise
    #[arg(long, env = "ADMIN_PASSWORD", hide_env_values = true, default_value = "")]
    admin_password: String,
    /// Adds this many verified users
    #[arg(long, env = "SEED_USERS", default_value = "")]
    seed_users: String,
    /// How many auth-apis and session-services to start: 1 or 2
    #[arg(long, env = "REPLICAS", default_value = "1", value_parser = clap::value_parser!(u8).range(1..=2))]
    replicas: u8,
    /// Ports to use, as `name=port,…`; the names are those in .dev/ports.json
    #[arg(long, env = "DEV_PORTS", default_value = "")]
    ports: String,
}

/// Starts everything and runs until it is told to stop.
pub(crate) async fn run(settings: Settings) -> anyhow::Result<ExitCode> {
    let mut interrupts = Interrupts::catch()?;
    let checkout = Checkout::find()?;
    let _lock = checkout.lock()?;
    let progress = Progress::to_stdout();
    let state = checkout.state();
    let logs = Logs::in_directory(&state.join("log"))?;
    let stack = Stack {
        addresses: Arc::new(StackEnv::withdrawn(&state.join("stack.env"))?),
        names: Group::new(progress, logs.clone(), true),
        servers: Group::new(progress, logs.clone(), true),
        services: Group::new(progress, logs.clone(), true),
        edge: Group::new(progress, logs.clone(), true),
        progress,
    };
    if settings.needs_private_servers() {
        packages::ensure_installed(Purpose::Servers, &logs, &progress, &mut interrupts).await?;
    }
    let mut running = None;
    let started = tokio::select! {
        started = stack.start(&state, &settings) => started.map(|started| running = Some(started)),
        _ = interrupts.next() => Ok(()),
    };
    if running.is_some() {
        interrupts.next().await;
    }
    tokio::select! {
        () = stack.stop() => {}
        _ = interrupts.next() => progress.note("killing everything"),
    }
    started.map(|()| if running.is_some() { ExitCode::SUCCESS } else { ExitCode::from(130) })
}

struct Stack {
    progress: Progress,
    addresses: Arc<StackEnv>,
    /// Stopped in the reverse of this order.
    names: Group,
    servers: Group,
    services: Group,
    edge: Group,
}

impl Stack {
    /// Returns what has to live as long as the services.
    async fn start(&self, state: &Path, settings: &Settings) -> anyhow::Result<Foundations> {
        let programs = programs()?;
        for service in ServiceName::ALL {
            let program = programs.join(service.name());
            ensure!(program.exists(), "{} is not built: start with `make run`", program.display());
        }
        let secrets = Secrets::in_directory(&state.join("secrets"))?;
        let mut ports =
            Ports::choose(&state.join("ports.json"), wiring::PORTS, &settings.ports, &self.progress)?;

        let since = Instant::now();
        identities::write(&state.join("tls"))?;
        self.progress.step(since, "certificates of the development CA");

        let keepers = Keepers { names: &self.names, servers: &self.servers, addresses: &self.addresses };
        let foundations = Foundations::start(state, settings, &secrets, &mut ports, &keepers).await?;
        let wiring = Arc::new(Wiring::new(state, settings, &secrets, &foundations, &mut ports)?);
        self.progress.step(since, "mail catcher and fake Turnstile");

        let service = |replica| Service::new(replica, &programs, wiring.clone(), self.addresses.clone());
        let services = ServiceName::ALL.map(|name| service(Replica::First(name)));
        let gallery = async {
            let directory = state.join("templates");
            let mailer = service(Replica::First(ServiceName::Mailer));
            mailer.run(&["templates", "render", "--out", &directory.to_string_lossy()]).await?;
            foundations.mailbox.show_templates(directory);
            anyhow::Ok(())
        };
        let database = async {
            foundations.postgres_ready(&self.progress).await?;
            let since = Instant::now();
            futures::future::try_join_all(services.iter().map(Service::migrate)).await?;
            self.progress.step(since, "schemas migrated, administrator created");
            anyhow::Ok(())
        };
        tokio::try_join!(
            gallery,
            database,
            foundations.redis_ready(&self.progress),
            foundations.rabbitmq_ready(&self.progress)
        )?;
        let second = Replica::SECOND.map(service).into_iter().filter(|_| settings.replicas > 1);
        self.start_services(services.into_iter().chain(second)).await?;
        self.seed(settings, &programs, &wiring).await?;

        self.addresses.publish(wiring.stack_variables())?;
        self.progress.line(&wiring.summary(self.progress.total()));
        Ok(foundations)
    }

    async fn start_services(&self, services: impl Iterator<Item = Service>) -> anyhow::Result<()> {
        let since = Instant::now();
        let client = http_client()?;
        let mut kept = Vec::new();
        for service in services {
            let group = if service.is_edge() { &self.edge } else { &self.services };
            kept.push(group.keep(service.probed_by(client.clone()))?);
        }
        let ready = kept.iter().map(async |kept| {
            kept.ready(SERVICE_PATIENCE).await?;
            self.progress.step(since, &format!("{} is ready", kept.daemon().name()));
            anyhow::Ok(())
        });
        futures::future::try_join_all(ready).await?;
        Ok(())
    }

    async fn seed(&self, settings: &Settings, programs: &Path, wiring: &Arc<Wiring>) -> anyhow::Result<()> {
        let Some(count) = settings.seed_users()? else { return Ok(()) };
        let since = Instant::now();
        let service = Service::new(
            Replica::First(ServiceName::AuthApi),
            programs,
            wiring.clone(),
            self.addresses.clone(),
        );
        service.run(&["admin", "seed", "--count", &count.to_string()]).await?;
        self.progress.step(since, &format!("{count} users user<i>@example.com"));
        Ok(())
    }

    async fn stop(&self) {
        let since = Instant::now();
        if let Err(error) = self.addresses.withdraw() {
            self.progress.note(&format!("{error:#}"));
        }
        for group in [&self.edge, &self.services, &self.servers, &self.names] {
            group.stop().await;
        }
        self.progress.step(since, "stopped; the data stay in .dev");
    }
}

impl Settings {
    fn needs_private_servers(&self) -> bool {
        [&self.database_url, &self.redis_url, &self.amqp_url].into_iter().any(String::is_empty)
    }

    fn seed_users(&self) -> anyhow::Result<Option<u32>> {
        if self.seed_users.is_empty() {
            return Ok(None);
        }
        let count = self.seed_users.parse().context("SEED_USERS is not a number")?;
        Ok(Some(count).filter(|count| *count > 0))
    }
}
