use std::{net::SocketAddr, sync::Arc, time::Duration};

use auth_events::routing::{AUDIT_DEAD_QUEUE, AUDIT_QUEUE};
use auth_proto::audit::v1::audit_service_server::AuditServiceServer;
use clock::SystemClock;
use diesel_migrations::{EmbeddedMigrations, embed_migrations};
use event_bus::EventBus;
use futures::FutureExt;
use service_runtime::{
    CancellationToken, CommonConfig, Environment, Lifecycle, Registry,
    grpc::{MAX_MESSAGE_BYTES, MethodPolicy, Server, ServerSettings},
    require_database,
};
use tonic::service::Routes;

use crate::{
    app::{AuditLog, Notary, Retention},
    archive::Upkeep,
    config::Config,
    consumer::{self, Recorder},
    metrics::Metrics,
    rpc::{self, AuditRpc},
    tail::Tail,
    vouching::{self, NewRows},
};

/// How often a database that lacks migrations is asked again.
const MIGRATIONS_PERIOD: Duration = Duration::from_millis(500);
/// How often the broker is asked how many messages wait.
const QUEUE_LENGTH_PERIOD: Duration = Duration::from_secs(5);

/// The migrations of schema `audit`.
#[must_use]
pub fn migrations() -> EmbeddedMigrations {
    const MIGRATIONS: EmbeddedMigrations = embed_migrations!("../../migrations/audit-service");
    MIGRATIONS
}

/// The service with its sockets bound, serving nothing yet.
pub struct Application {
    server: Server,
    database: pg::Database,
    bus: EventBus,
    log: AuditLog,
    notary: Notary,
    metrics: Metrics,
    archive: Option<Upkeep>,
}

impl Application {
    /// Binds the sockets. Connects to nothing, so that a dependency that is away does not matter yet.
    pub async fn build(config: Config, common: &CommonConfig, registry: &Registry) -> anyhow::Result<Self> {
        let settings = ServerSettings {
            listen: config.grpc_listen,
            transport: common.transport.clone(),
            reflection: common.environment == Environment::Development,
        };
        let server = Server::bind(settings, registry).await?;
        let database = pg::Database::new(&common.database_settings("audit-service"))?;
        database.register_metrics(registry)?;
        let bus = EventBus::new(&common.amqp_url, "audit-service", registry)?;
        let log = AuditLog::new(database.clone(), config.cursor_keys, config.personal_keys);
        let retention = Retention { days: config.retention, clock: Arc::new(SystemClock) };
        let notary = Notary::new(database.clone(), config.checkpoint_keys, config.archive.clone(), retention);
        let metrics = Metrics::register(registry, Arc::new(SystemClock))?;
        let upkeep =
            |archive| Upkeep::new(database.clone(), archive, Arc::new(SystemClock), config.archive_period);
        let archive = config.archive.map(upkeep);
        Ok(Self { server, database, bus, log, notary, metrics, archive })
    }

    /// The address at which gRPC is served.
    #[must_use]
    pub fn grpc_addr(&self) -> SocketAddr {
        self.server.local_addr()
    }

    /// Serves and consumes until `lifecycle` stops.
    pub async fn run(self, lifecycle: Lifecycle) -> anyhow::Result<()> {
        let readiness = lifecycle.readiness();
        require_database(&readiness, &self.database, migrations);
        // The queue itself is asked for, so that the broker is also known to be there while migrations are waited for.
        let bus = self.bus.clone();
        readiness.require("rabbitmq", move || {
            let bus = bus.clone();
            async move { bus.queue_length(AUDIT_QUEUE).await.map(drop).map_err(|error| format!("{error:#}")) }
                .boxed()
        });

        let watching = watch_queues(self.bus.clone(), self.metrics.clone(), lifecycle.stopping());
        lifecycle.spawn("audit queue lengths", watching);

        let new_rows = NewRows::default();
        let recorder = Recorder::new(self.log.clone(), self.metrics.clone(), new_rows.clone());
        let database = self.database;
        let consuming = consume(self.bus, recorder, lifecycle.stopping());
        lifecycle.spawn("audit consumer", after_migrations(&database, consuming, lifecycle.stopping()));

        let looking =
            vouching::look_for_absences(self.log.clone(), self.metrics.clone(), lifecycle.stopping());
        lifecycle.spawn("audit absences", after_migrations(&database, looking, lifecycle.stopping()));
        let signing = vouching::sign(self.notary.clone(), new_rows, self.metrics, lifecycle.stopping());
        lifecycle.spawn("audit checkpoints", after_migrations(&database, signing, lifecycle.stopping()));
        let retaining = vouching::retain(self.notary.clone(), self.log.clone(), lifecycle.stopping());
        lifecycle.spawn("audit partitions", after_migrations(&database, retaining, lifecycle.stopping()));

        if let Some(archive) = self.archive {
            lifecycle.spawn("audit archive", archive.run(lifecycle.stopping()));
        }
        let tail = Tail::new(self.log.clone());
        lifecycle.spawn("audit tail", tail.clone().run(lifecycle.stopping()));

        let service =
            AuditServiceServer::new(AuditRpc::new(self.log, self.notary, tail, lifecycle.stopping()))
                .max_decoding_message_size(MAX_MESSAGE_BYTES);
        self.server.serve(Routes::new(service), MethodPolicy::new(rpc::ALLOWED), lifecycle).await
    }
}

async fn consume(bus: EventBus, recorder: Recorder, stop: CancellationToken) {
    bus.consume_batches(consumer::settings(), recorder, stop).await;
}

async fn watch_queues(bus: EventBus, metrics: Metrics, stop: CancellationToken) {
    while !stop.is_cancelled() {
        for queue in [AUDIT_QUEUE, AUDIT_DEAD_QUEUE] {
            // While the broker is away the last known length stands; readiness says that it is away.
            if let Some(Ok(length)) = stop.run_until_cancelled(bus.queue_length(queue)).await {
                metrics.queue_length.with_label_values(&[queue]).set(length.into());
            }
        }
        stop.run_until_cancelled(tokio::time::sleep(QUEUE_LENGTH_PERIOD)).await;
    }
}

/// Does `work` once the tables are there: until then every attempt would only fail.
fn after_migrations(
    database: &pg::Database,
    work: impl Future<Output = ()> + Send + 'static,
    stop: CancellationToken,
) -> impl Future<Output = ()> + Send + 'static {
    let database = database.clone();
    async move {
        if stop.run_until_cancelled(wait_for_migrations(&database)).await.is_some() {
            work.await;
        }
    }
}

async fn wait_for_migrations(database: &pg::Database) {
    let migrations = migrations();
    loop {
        if let Ok(mut conn) = database.connection().await
            && pg::migrate::pending(&mut conn, &migrations).await.is_ok_and(|pending| pending.is_empty())
        {
            return;
        }
        tokio::time::sleep(MIGRATIONS_PERIOD).await;
    }
}
