//! Starts the service and looks into its database.

use std::{sync::Arc, time::Duration};

use auth_proto::session::v1::{
    CreateSessionRequest, Device, ListSessionsRequest, RefreshRequest, RefreshResponse, Subject, Tokens,
    ValidateRequest, ValidateResponse, session_service_client::SessionServiceClient,
};
use chrono::{DateTime, TimeDelta, Utc};
use clock::{Clock, ManualClock};
use diesel::{QueryableByName, sql_types::Text};
use diesel_async::{RunQueryDsl, SimpleAsyncConnection};
use prometheus::Registry;
use sealing::KeyRing;
use secrecy::SecretString;
use serde_json::Value;
use service_runtime::{CommonConfig, Environment, Lifecycle, ShutdownSettings, Transport};
use session_service::{Application, Config, migrations};
use telemetry::{LogFormat, TelemetrySettings};
use test_support::{TestDatabase, eventually};
use tonic::{Status, transport::Channel};

pub type Client = SessionServiceClient<Channel>;

pub const KEYS: &str = "k1:AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8";
pub const OTHER_KEYS: &str = "k2:_wECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8";
pub const DEADLINE: Duration = Duration::from_secs(10);
/// Nobody listens there: without a broker everything works, and the facts stay in the outbox where a test finds them.
const NO_BROKER: &str = "amqp://nobody:nobody@127.0.0.1:1/none";

/// How to start the service.
pub struct Setup {
    pub clock: Arc<ManualClock>,
    pub database_url: SecretString,
    pub amqp_url: SecretString,
    /// Without one, other replicas hear of revocations by polling.
    pub redis_url: Option<SecretString>,
    pub keys: &'static str,
    pub transport: Transport,
}

impl Setup {
    pub fn on(database: &TestDatabase) -> Self {
        Self::at(database.app_url())
    }

    pub fn at(database_url: SecretString) -> Self {
        Self {
            clock: Arc::new(ManualClock::new(begin())),
            database_url,
            amqp_url: NO_BROKER.into(),
            redis_url: None,
            keys: KEYS,
            transport: Transport::Plaintext,
        }
    }

    /// Starts the service; it need not be ready.
    pub async fn start(self) -> Running {
        test_support::install_crypto_provider();
        let shutdown = ShutdownSettings { delay: Duration::ZERO, drain: DEADLINE };
        let lifecycle = Lifecycle::new(shutdown);
        let common = CommonConfig {
            environment: Environment::Development,
            encryption: service_runtime::Encryption::Optional,
            migrations_database_url: self.database_url.clone(),
            database_url: self.database_url,
            bootstrap_database_url: None,
            database_max_connections: 16,
            amqp_url: self.amqp_url,
            management_listen: "127.0.0.1:0".parse().unwrap(),
            telemetry: TelemetrySettings {
                service: "session-service",
                version: "0.0.0",
                environment: "development".to_owned(),
                log_filter: "off".to_owned(),
                log_format: LogFormat::Auto,
                otlp_endpoint: None,
                trace_sample_ratio: 0.0,
            },
            transport: self.transport,
            shutdown,
        };
        let config = Config {
            grpc_listen: "127.0.0.1:0".parse().unwrap(),
            key_ring: KeyRing::parse(self.keys).unwrap(),
            token_issuer: "https://auth.example".to_owned(),
            token_audience: "feature-auth".to_owned(),
            token_ttl: TimeDelta::minutes(5),
            token_key_rotation: TimeDelta::days(90),
            redis_url: self.redis_url,
        };
        let registry = Registry::new();
        let application = Application::build(config, &common, self.clock.clone(), &registry).await.unwrap();
        let address = application.local_addr();
        let run = application.run(lifecycle.clone());
        lifecycle.spawn("application", async move { run.await.unwrap() });
        let channel = Channel::from_shared(format!("http://{address}")).unwrap().connect_lazy();
        Running {
            clock: self.clock,
            lifecycle,
            registry,
            address,
            client: SessionServiceClient::new(channel),
        }
    }

    /// Starts the service and waits until it is ready.
    pub async fn start_ready(self) -> Running {
        let running = self.start().await;
        tokio::time::timeout(DEADLINE, running.lifecycle.readiness().wait_until_ready())
            .await
            .expect("ready");
        running
    }
}

/// A service that runs. Its work ends with the test.
pub struct Running {
    pub clock: Arc<ManualClock>,
    pub lifecycle: Lifecycle,
    pub registry: Registry,
    pub address: std::net::SocketAddr,
    pub client: Client,
}

impl Running {
    pub fn advance(&self, seconds: i64) {
        self.clock.advance(TimeDelta::seconds(seconds));
    }

    /// Waits until a burst of calls finds the connections that it needs: opening them takes longer than a call may wait.
    pub async fn warm_up(&self) {
        eventually("a burst to be answered", DEADLINE, || async {
            let lists = (0..50).map(|_| async {
                let request = ListSessionsRequest { user_id: new_user() };
                self.client.clone().list_sessions(request).await
            });
            futures::future::join_all(lists).await.iter().all(Result::is_ok).then_some(())
        })
        .await;
    }

    pub async fn create(&self, user: &str) -> Tokens {
        let answer = self.client.clone().create_session(login(user)).await.unwrap().into_inner();
        answer.tokens.unwrap()
    }

    pub async fn refresh(&self, refresh_token: &str) -> Result<Tokens, Status> {
        self.refresh_fully(refresh_token).await.map(|answer| answer.tokens.unwrap())
    }

    pub async fn refresh_fully(&self, refresh_token: &str) -> Result<RefreshResponse, Status> {
        let request = RefreshRequest {
            refresh_token: refresh_token.to_owned(),
            device: Some(device()),
            request_id: "req-refresh".to_owned(),
        };
        self.client.clone().refresh(request).await.map(tonic::Response::into_inner)
    }

    pub async fn validate(&self, access_token: &str) -> ValidateResponse {
        let request = ValidateRequest { access_token: access_token.to_owned(), ..ValidateRequest::default() };
        self.client.clone().validate(request).await.unwrap().into_inner()
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        self.lifecycle.request_shutdown();
    }
}

/// A migrated database and two replicas on it that share a clock, warmed up.
pub async fn start_two() -> (TestDatabase, Running, Running) {
    let (database, one) = start().await;
    let other = Setup { clock: one.clock.clone(), ..Setup::on(&database) }.start_ready().await;
    tokio::join!(one.warm_up(), other.warm_up());
    (database, one, other)
}

/// A migrated database and a service on it.
pub async fn start() -> (TestDatabase, Running) {
    let database = new_database().await;
    let running = Setup::on(&database).start_ready().await;
    (database, running)
}

pub async fn new_database() -> TestDatabase {
    TestDatabase::new("session", migrations()).await
}

pub fn begin() -> DateTime<Utc> {
    "2030-01-01T00:00:00.25Z".parse().unwrap()
}

pub fn new_user() -> String {
    let clock = ManualClock::new(begin());
    let user: auth_ids::UserId = auth_ids::generate(&clock, &mut clock::secure_rng());
    user.to_string()
}

pub fn device() -> Device {
    Device { name: "Laptop".to_owned(), ip: "203.0.113.7".to_owned(), user_agent: "test/1".to_owned() }
}

pub fn login(user: &str) -> CreateSessionRequest {
    CreateSessionRequest {
        subject: Some(Subject {
            user_id: user.to_owned(),
            roles: vec!["user".to_owned()],
            permissions: vec!["reports:read".to_owned()],
        }),
        amr: vec!["pwd".to_owned()],
        aal: 1,
        auth_time: None,
        remember_me: true,
        device: Some(device()),
        request_id: "req-login".to_owned(),
    }
}

/// The code and the reason of a refusal.
pub fn reason(status: &Status) -> (tonic::Code, String) {
    (status.code(), service_error::error_reason(status).unwrap_or_default())
}

#[derive(QueryableByName)]
struct TextRow {
    #[diesel(sql_type = Text)]
    text: String,
}

/// The answer to `query`, whose one column is called `text`.
pub async fn query(database: &TestDatabase, query: &str) -> Vec<String> {
    let pool = database.admin();
    let mut connection = pool.connection().await.unwrap();
    let rows: Vec<TextRow> = diesel::sql_query(query).load(&mut connection).await.unwrap();
    rows.into_iter().map(|row| row.text).collect()
}

pub async fn execute(database: &TestDatabase, statement: &str) {
    let pool = database.admin();
    let mut connection = pool.connection().await.unwrap();
    diesel::sql_query(statement).execute(&mut connection).await.unwrap();
}

/// What `call` answers, which has to wait for PostgreSQL, while the service is told to stop.
pub async fn stopped_during<T>(
    database: &TestDatabase,
    service: &Running,
    call: impl Future<Output = T>,
) -> T {
    let mut blocker = database.admin().connection().await.unwrap();
    blocker.batch_execute("BEGIN; LOCK TABLE sessions").await.unwrap();
    let stop = async {
        let waiting = "SELECT mode AS text FROM pg_locks WHERE NOT granted AND relation = 'sessions'::regclass \
                       AND database = (SELECT oid FROM pg_database WHERE datname = current_database())";
        eventually("the call to wait", DEADLINE, || async {
            (!query(database, waiting).await.is_empty()).then_some(())
        })
        .await;
        service.lifecycle.request_shutdown();
        blocker.batch_execute("ROLLBACK").await.unwrap();
    };
    tokio::join!(call, stop).0
}

/// The facts of `event_type` that wait in the outbox.
pub async fn facts(database: &TestDatabase, event_type: &str) -> Vec<Value> {
    let rows = query(database, "SELECT payload AS text FROM outbox ORDER BY created_at, id").await;
    let envelopes = rows.iter().map(|payload| serde_json::from_str::<Value>(payload).unwrap());
    envelopes.filter(|envelope| envelope["type"] == event_type).collect()
}

/// Waits until the service has stored that the session's current generation arrived.
pub async fn until_seen(database: &TestDatabase, session_id: &str) {
    let sql = format!("SELECT generation_seen::text AS text FROM sessions WHERE id = '{session_id}'");
    eventually("the generation to be seen", DEADLINE, || async {
        (query(database, &sql).await == ["true"]).then_some(())
    })
    .await;
}

pub fn now(running: &Running) -> DateTime<Utc> {
    running.clock.now()
}
