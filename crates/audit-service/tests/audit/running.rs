//! The whole service in this process, with a database and a virtual host of its own.

use std::{net::SocketAddr, time::Duration};

use audit_service::{
    app::AuditLog,
    config::Config,
    domain::CheckpointKeys,
    startup::{Application, migrations},
};
use auth_events::routing::{AUDIT_DEAD_QUEUE, AUDIT_QUEUE};
use auth_proto::audit::v1::audit_service_client::AuditServiceClient;
use event_bus::{EventBus, OutgoingMessage};
use parking_lot::Mutex;
use prometheus::Registry;
use sealing::KeyRing;
use secrecy::SecretString;
use service_runtime::{CommonConfig, Environment, Lifecycle, ShutdownSettings, Transport};
use telemetry::{LogFormat, TelemetrySettings};
use test_support::{TestBroker, TestDatabase, eventually};
use tonic::transport::{Channel, Endpoint};

use crate::sql;

pub const CURSOR_KEYS: &str = "k1:AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8";
pub const PERSONAL_KEYS: &str = "p1:HwECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHgA";
pub const CHECKPOINT_KEY: &str = "IAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHgE";
/// Generous: the machine may be busy with other tests.
pub const DEADLINE: Duration = Duration::from_mins(1);

pub type Client = AuditServiceClient<Channel>;

pub struct Running {
    pub database: TestDatabase,
    pub broker: TestBroker,
    pub grpc_addr: SocketAddr,
    /// Speaks plaintext.
    pub client: Client,
    pub lifecycle: Lifecycle,
    pub admin: pg::Database,
    registry: Registry,
    producer: EventBus,
}

impl Running {
    pub async fn start() -> Self {
        Self::start_with(TestDatabase::new("audit", migrations()).await).await
    }

    pub async fn start_with(database: TestDatabase) -> Self {
        Self::start_on(database, Transport::Plaintext).await
    }

    pub async fn start_on(database: TestDatabase, transport: Transport) -> Self {
        test_support::install_crypto_provider();
        let broker = TestBroker::new().await;
        let registry = Registry::new();
        let common = CommonConfig { transport, ..common_config(database.app_url(), broker.amqp_url()) };
        let config = Config {
            grpc_listen: "127.0.0.1:0".parse().unwrap(),
            cursor_keys: KeyRing::parse(CURSOR_KEYS).unwrap(),
            personal_keys: KeyRing::parse(PERSONAL_KEYS).unwrap(),
            archive: None,
            archive_period: chrono::TimeDelta::hours(1),
            checkpoint_keys: CheckpointKeys::parse(Some(CHECKPOINT_KEY), &[]).unwrap(),
            retention: Vec::new(),
        };
        let lifecycle = Lifecycle::new(common.shutdown);
        let application = Application::build(config, &common, &registry).await.unwrap();
        let grpc_addr = application.grpc_addr();
        let running = application.run(lifecycle.clone());
        lifecycle.spawn("audit-service", async move { running.await.unwrap() });

        let endpoint = Endpoint::from_shared(format!("http://{grpc_addr}")).unwrap();
        let client = AuditServiceClient::new(endpoint.connect_lazy());
        let producer = EventBus::new(&broker.amqp_url(), "producer", &Registry::new()).unwrap();
        let admin = database.admin();
        Self { database, broker, grpc_addr, client, lifecycle, admin, registry, producer }
    }

    /// The log as another replica would write to it.
    pub fn another_log(&self) -> AuditLog {
        log_of(&self.database)
    }

    /// Publishes as the outbox does: again and again until the broker has confirmed each message.
    pub async fn publish(&self, messages: Vec<OutgoingMessage>) {
        let publisher = self.producer.publisher();
        let unconfirmed = Mutex::new(messages);
        eventually("the broker to confirm", DEADLINE, || async {
            let batch = unconfirmed.lock().clone();
            let results = publisher.publish(batch).await;
            let mut confirmed = results.iter().map(Result::is_ok);
            unconfirmed.lock().retain(|_| !confirmed.next().unwrap());
            unconfirmed.lock().is_empty().then_some(())
        })
        .await;
    }

    pub async fn wait_for_rows(&self, count: i64) {
        eventually(&format!("{count} rows"), DEADLINE, || async {
            (sql::rows(&self.admin).await == count).then_some(())
        })
        .await;
    }

    pub async fn wait_for_dead_letters(&self, count: u64) {
        eventually(&format!("{count} dead letters"), DEADLINE, || async {
            (self.broker.queue_length(AUDIT_DEAD_QUEUE).await == count).then_some(())
        })
        .await;
    }

    /// Stops the service: what it holds is then back in the queue, where this looks.
    pub async fn stop_and_expect_an_empty_queue(&self) {
        self.lifecycle.request_shutdown();
        self.lifecycle.wait_for_tasks().await;
        assert_eq!(self.broker.queue_length(AUDIT_QUEUE).await, 0);
    }

    /// The sum of a counter's series.
    pub fn counter(&self, name: &str) -> u64 {
        #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "counters count")]
        self.series(name).iter().map(|metric| metric.get_counter().get_value() as u64).sum()
    }

    /// Waits until the service says that so many messages are in `queue`.
    pub async fn wait_for_queue_length(&self, queue: &str, length: u32) {
        eventually(&format!("{length} messages in {queue} by the metric"), DEADLINE, || async {
            let series = self.series("audit_queue_length");
            let of_queue = series.iter().find(|it| it.get_label().iter().any(|label| label.value() == queue));
            let said = of_queue?.get_gauge().get_value();
            ((said - f64::from(length)).abs() < 0.5).then_some(())
        })
        .await;
    }

    pub async fn wait_for_attempts(&self, count: u64) {
        eventually(&format!("{count} batches"), DEADLINE, || async {
            (self.samples("audit_batch_size") >= count).then_some(())
        })
        .await;
    }

    /// How often a histogram was observed.
    pub fn samples(&self, name: &str) -> u64 {
        self.series(name).iter().map(|metric| metric.get_histogram().get_sample_count()).sum()
    }

    fn series(&self, name: &str) -> Vec<prometheus::proto::Metric> {
        let families = self.registry.gather();
        let family = families.into_iter().find(|family| family.name() == name);
        family.map(|family| family.get_metric().to_vec()).unwrap_or_default()
    }
}

/// The log in `database`, without a service around it.
pub fn log_of(database: &TestDatabase) -> AuditLog {
    let ring = |keys| KeyRing::parse(keys).unwrap();
    AuditLog::new(database.database("test"), ring(CURSOR_KEYS), ring(PERSONAL_KEYS))
}

fn common_config(database_url: SecretString, amqp_url: SecretString) -> CommonConfig {
    CommonConfig {
        environment: Environment::Development,
        encryption: service_runtime::Encryption::Optional,
        migrations_database_url: database_url.clone(),
        database_url,
        bootstrap_database_url: None,
        database_max_connections: 4,
        amqp_url,
        management_listen: "127.0.0.1:0".parse().unwrap(),
        telemetry: TelemetrySettings {
            service: "audit-service",
            version: "test",
            environment: "development".to_owned(),
            log_filter: "info".to_owned(),
            log_format: LogFormat::Json,
            otlp_endpoint: None,
            trace_sample_ratio: 1.0,
        },
        transport: Transport::Plaintext,
        shutdown: ShutdownSettings { delay: Duration::ZERO, drain: Duration::from_secs(10) },
    }
}
