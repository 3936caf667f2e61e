use std::{net::SocketAddr, sync::Arc, time::Duration};

use auth_events::{
    commands::Lane,
    routing::{MAILER_DEAD_QUEUE, mailer_queue},
};
use auth_proto::mailer::v1::mailer_service_server::MailerServiceServer;
use clock::SharedClock;
use event_bus::{ConsumerSettings, EventBus};
use parking_lot::Mutex;
use pg::Database;
use prometheus::Registry;
use service_runtime::{
    CommonConfig, Environment, Lifecycle,
    grpc::{MAX_MESSAGE_BYTES, MethodPolicy, Server, ServerSettings},
    require_database,
};
use tokio_util::sync::CancellationToken;

use crate::{
    NAME,
    app::{deliver::Postman, look_after::Caretaker},
    config::Config,
    consumer::{self, MailCommands},
    mail::{domain_gates::DomainGates, providers::Providers, renderer::Renderer},
    metrics::Metrics,
    migrations,
    rpc::{self, MailerRpc},
};

const QUEUE_LENGTH_PERIOD: Duration = Duration::from_secs(5);
const BREAKER_PERIOD: Duration = Duration::from_secs(5);
const PROBE_PERIOD: Duration = Duration::from_mins(1);
const PROBE_PERIOD_WHEN_DOWN: Duration = Duration::from_secs(5);
const FIRST_PAUSE: Duration = Duration::from_millis(200);
const LONGEST_PAUSE: Duration = Duration::from_secs(5);

/// The mailer, put together and listening.
pub struct Application {
    server: Server,
    database: Database,
    bus: EventBus,
    commands: MailCommands,
    caretaker: Caretaker,
    workers: u16,
    /// Says to those who talk to providers that the mailer is being stopped.
    stop: CancellationToken,
    metrics: Metrics,
}

impl Application {
    /// Binds the listener and puts everything together; connects to nothing, so nothing has to be there yet.
    pub async fn build(
        config: Config,
        common: &CommonConfig,
        clock: SharedClock,
        registry: &Registry,
    ) -> anyhow::Result<Self> {
        let server = Server::bind(
            ServerSettings {
                listen: config.grpc_listen,
                transport: common.transport.clone(),
                reflection: common.environment == Environment::Development,
            },
            registry,
        )
        .await?;
        let database = Database::new(&common.database_settings(NAME))?;
        database.register_metrics(registry)?;
        let bus = EventBus::new(&common.amqp_url, NAME, registry)?;
        let metrics = Metrics::register(registry)?;
        let stop = CancellationToken::new();
        let postman = Postman {
            database: database.clone(),
            providers: Providers::new(
                config.delivery.providers,
                common.shutdown.drain,
                clock.clone(),
                metrics.clone(),
            )?,
            renderer: Renderer::new(config.brand)?,
            sender: config.sender,
            mail_domain: config.mail_domain,
            gates: DomainGates::new(config.delivery.domain_concurrency, config.delivery.workers),
            clock: clock.clone(),
            metrics: metrics.clone(),
            stop: stop.clone(),
        };
        let caretaker = Caretaker {
            database: database.clone(),
            bus: bus.clone(),
            retention: config.delivery.retention,
            clock: clock.clone(),
            metrics: metrics.clone(),
        };
        let commands = MailCommands {
            key: config.private_key,
            postman: Arc::new(postman),
            metrics: metrics.clone(),
            clock,
        };
        let workers = config.delivery.workers;
        Ok(Self { server, database, bus, commands, caretaker, workers, stop, metrics })
    }

    /// Where gRPC is served.
    #[must_use]
    pub fn grpc_addr(&self) -> SocketAddr {
        self.server.local_addr()
    }

    /// Works until `lifecycle` stops.
    pub async fn run(self, lifecycle: Lifecycle) -> anyhow::Result<()> {
        self.declare_readiness(&lifecycle);
        let (stopping, stop) = (lifecycle.stopping(), self.stop.clone());
        lifecycle.spawn("mailer.stop", async move {
            stopping.cancelled().await;
            stop.cancel();
        });
        lifecycle.spawn(
            "mailer.caretaker",
            look_after(self.database.clone(), self.caretaker, lifecycle.stopping()),
        );
        lifecycle.spawn(
            "mailer.queue_lengths",
            watch_queues(self.bus.clone(), self.metrics, lifecycle.stopping()),
        );
        let providers = self.commands.postman.providers.clone();
        lifecycle.spawn("mailer.breakers", watch_breakers(providers, lifecycle.stopping()));
        for lane in Lane::ALL {
            let consume = consume(
                self.bus.clone(),
                self.database.clone(),
                consumer::settings(*lane, self.workers),
                self.commands.clone(),
                lifecycle.stopping(),
            );
            lifecycle.spawn("mailer.consumer", consume);
        }
        let key = self.commands.key.public();
        let rpc = MailerServiceServer::new(MailerRpc::new(self.commands.postman, self.bus, key))
            .max_decoding_message_size(MAX_MESSAGE_BYTES);
        let routes = tonic::service::Routes::new(rpc);
        self.server.serve(routes, MethodPolicy::new(rpc::POLICY), lifecycle).await
    }

    fn declare_readiness(&self, lifecycle: &Lifecycle) {
        let readiness = lifecycle.readiness();
        require_database(&readiness, &self.database, migrations);
        let bus = self.bus.clone();
        readiness.require("rabbitmq", move || {
            let connected = bus.is_connected();
            Box::pin(async move { if connected { Ok(()) } else { Err("not connected".to_owned()) } })
        });
        // Without a provider mails wait; there is nothing that another instance could do better.
        let health = Arc::new(Mutex::new(Err("not tried yet".to_owned())));
        let seen = Arc::clone(&health);
        readiness.observe("smtp", move || {
            let health = seen.lock().clone();
            Box::pin(async move { health })
        });
        let providers = self.commands.postman.providers.clone();
        lifecycle.spawn("mailer.provider_probe", probe(providers, health, lifecycle.stopping()));
    }
}

/// Consumes one lane, once there is a database to keep state in.
async fn consume(
    bus: EventBus,
    database: Database,
    settings: ConsumerSettings,
    commands: MailCommands,
    stop: CancellationToken,
) {
    if stop.run_until_cancelled(wait_for_migrations(&database)).await.is_some() {
        bus.consume(settings, commands, stop).await;
    }
}

async fn wait_for_migrations(database: &Database) {
    let mut pause = FIRST_PAUSE;
    while !is_migrated(database).await {
        tokio::time::sleep(pause).await;
        pause = (pause * 2).min(LONGEST_PAUSE);
    }
}

async fn is_migrated(database: &Database) -> bool {
    let Ok(mut conn) = database.connection().await else { return false };
    pg::migrate::pending(&mut conn, &migrations()).await.is_ok_and(|pending| pending.is_empty())
}

async fn watch_queues(bus: EventBus, metrics: Metrics, stop: CancellationToken) {
    let lanes = Lane::ALL.iter().copied().map(mailer_queue);
    let queues: Vec<&str> = lanes.chain([MAILER_DEAD_QUEUE]).collect();
    while !stop.is_cancelled() {
        for queue in &queues {
            // While the broker is away the last known length stands; readiness says that it is away.
            if let Some(Ok(length)) = stop.run_until_cancelled(bus.queue_length(queue)).await {
                metrics.queue_length(queue, length);
            }
        }
        stop.run_until_cancelled(tokio::time::sleep(QUEUE_LENGTH_PERIOD)).await;
    }
}

async fn watch_breakers(providers: Providers, stop: CancellationToken) {
    while stop.run_until_cancelled(tokio::time::sleep(BREAKER_PERIOD)).await.is_some() {
        providers.show_breakers();
    }
}

async fn look_after(database: Database, caretaker: Caretaker, stop: CancellationToken) {
    if stop.run_until_cancelled(wait_for_migrations(&database)).await.is_some() {
        caretaker.work(stop).await;
    }
}

async fn probe(providers: Providers, health: Arc<Mutex<Result<(), String>>>, stop: CancellationToken) {
    while let Some(outcome) = stop.run_until_cancelled(providers.probe(&stop)).await {
        let pause = if outcome.is_ok() { PROBE_PERIOD } else { PROBE_PERIOD_WHEN_DOWN };
        *health.lock() = outcome;
        stop.run_until_cancelled(tokio::time::sleep(pause)).await;
    }
    providers.close().await;
}
