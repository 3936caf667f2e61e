//! Puts the parts together; the same for the binary and for tests.

use std::{
    net::{SocketAddr, TcpListener},
    sync::Arc,
    time::Duration,
};

use actix_web::{App, HttpServer, middleware::from_fn, web};
use anyhow::Context as _;
use clock::SystemClock;
use event_bus::EventBus;
use futures::FutureExt;
use outbox::{Relay, RelaySettings, Wake};
use pg::Database;
use prometheus::Registry;
use service_runtime::{CommonConfig, Lifecycle, Readiness, Transport, grpc, require_database};
use url::Url;
use utoipa_actix_web::AppExt;

use crate::{
    app::forget_unverified::forget_unverified_regularly,
    clients::{
        captcha::{Captcha, Turnstile},
        sessions::Sessions,
    },
    config::{CaptchaConfig, Config},
    http::{self, EdgeSettings, KeyDirectory, MetricsAccess, OpenApiJson, v1::config::FrontendConfig},
    metrics::Metrics,
    password::{HashPool, Kernel, PasswordVault},
    service::MIGRATIONS,
    state::AppState,
};

const HEADER_DEADLINE: Duration = Duration::from_secs(5);
const RELAY_DRAIN: Duration = Duration::from_secs(5);

/// auth-api, bound and not yet serving.
pub struct Application {
    listener: TcpListener,
    parts: Parts,
    relay: Relay,
}

/// What every worker gets a copy of.
#[derive(Clone)]
struct Parts {
    state: StateWithoutSessions,
    session_service: Url,
    transport: Transport,
    edge: EdgeSettings,
    frontend: FrontendConfig,
    openapi: OpenApiJson,
    metrics_access: MetricsAccess,
    keys: KeyDirectory,
    readiness: Readiness,
}

/// [`AppState`] before each worker opens its own connection to session-service.
#[derive(Clone)]
struct StateWithoutSessions {
    database: Database,
    vault: PasswordVault,
    captcha: Captcha,
    outbox: Wake,
    metrics: Metrics,
    config: Config,
}

impl Application {
    /// Binds the listener and makes everything that the workers share. Connects to nothing: dependencies may be away.
    pub fn build(
        mut config: Config,
        common: &CommonConfig,
        lifecycle: &Lifecycle,
        registry: Registry,
    ) -> anyhow::Result<Self> {
        // Only `migrate up` needs it; a process that serves keeps no password.
        config.admin = None;
        let listener = TcpListener::bind(config.http_listen)
            .with_context(|| format!("cannot listen on {}", config.http_listen))?;
        let database = Database::new(&common.database_settings("auth-api"))?;
        database.register_metrics(&registry)?;
        let readiness = lifecycle.readiness();
        require_database(&readiness, &database, || MIGRATIONS);
        let bus = EventBus::new(&common.amqp_url, "auth-api", &registry)?;
        observe_bus(&readiness, &bus);
        let metrics = Metrics::register(&registry)?;
        let wake = Wake::default();
        // The relay has a pool of its own: requests and relay must not wait for each other.
        let relay_pool =
            pg::DatabaseSettings { max_connections: 2, ..common.database_settings("auth-api outbox") };
        let relay = Relay::new(
            Database::new(&relay_pool)?,
            bus.publisher(),
            RelaySettings::default(),
            wake.clone(),
            &registry,
        )?;
        let kernel = Kernel::choose(config.password_hash_kernel, &mut clock::secure_rng());
        tracing::info!("Passwords are hashed by the {kernel} kernel");
        let cores = std::thread::available_parallelism().map_or(1, usize::from);
        let pool = HashPool::new(kernel, cores, &registry)?;
        let (captcha, site_key) = captcha(&config.captcha)?;
        let edge = EdgeSettings {
            trusted_proxies: config.trusted_proxies.clone(),
            docs_url: config.addresses.docs.clone(),
            methods: Arc::new(http::openapi::methods_by_route()),
            metrics: metrics.clone(),
        };
        let parts = Parts {
            session_service: config.session_service_url.clone(),
            transport: common.transport.clone(),
            edge,
            frontend: FrontendConfig::new(site_key),
            openapi: OpenApiJson::collect()?,
            metrics_access: MetricsAccess { networks: config.metrics_allow.clone(), registry },
            keys: KeyDirectory::default(),
            readiness,
            state: StateWithoutSessions {
                database,
                vault: PasswordVault::new(pool, config.password_keys.clone(), config.password_hash),
                captcha,
                outbox: wake,
                metrics,
                config,
            },
        };
        Ok(Self { listener, parts, relay })
    }

    /// Where the public interface listens.
    pub fn local_addr(&self) -> anyhow::Result<SocketAddr> {
        Ok(self.listener.local_addr()?)
    }

    /// Serves until `lifecycle` stops, then finishes the requests that were begun.
    pub async fn run(self, lifecycle: &Lifecycle) -> anyhow::Result<()> {
        let Self { listener, parts, relay } = self;
        let stopping = lifecycle.stopping();
        lifecycle.spawn("outbox relay", relay.run(stopping.clone(), RELAY_DRAIN));
        let (database, clock) = (parts.state.database.clone(), Arc::new(SystemClock));
        let forgetting = forget_unverified_regularly(database, clock, stopping.clone());
        lifecycle.spawn("forget unverified registrations", forgetting);
        // Fails early, and once, instead of in every worker.
        parts.state_of_worker()?;
        let server = HttpServer::new(move || {
            let worker = parts.clone();
            let edge = web::Data::new(worker.edge.clone());
            let (app, _) = App::new().into_utoipa_app().configure(http::documented_routes).split_for_parts();
            app.configure(http::undocumented_routes)
                .configure(|services| worker.install(services))
                .wrap(from_fn(http::edge))
                .app_data(edge)
        })
        .client_request_timeout(HEADER_DEADLINE)
        .disable_signals()
        .shutdown_timeout(20)
        .listen(listener)?
        .run();
        let handle = server.handle();
        lifecycle.spawn("http shutdown", async move {
            stopping.cancelled().await;
            handle.stop(true).await;
        });
        server.await.context("the HTTP server failed")
    }
}

impl Parts {
    fn state_of_worker(&self) -> anyhow::Result<AppState> {
        let StateWithoutSessions { database, vault, captcha, outbox, metrics, config } = self.state.clone();
        let channel = grpc::connect_lazy(&self.session_service, &self.transport)?;
        Ok(AppState {
            database,
            sessions: Sessions::new(channel),
            vault,
            captcha,
            clock: Arc::new(SystemClock),
            outbox,
            mailer_key: config.mailer_public_key,
            identifier_key: config.identifier_key,
            metrics,
            addresses: config.addresses,
        })
    }

    fn install(self, services: &mut web::ServiceConfig) {
        match self.state_of_worker() {
            Ok(state) => {
                services.app_data(web::Data::new(state));
            }
            Err(error) => tracing::error!("A worker has no connection to session-service: {error:#}"),
        }
        let docs = utoipa_swagger_ui::Config::from("/openapi.json");
        services
            .app_data(web::Data::new(self.frontend))
            .app_data(web::Data::new(self.openapi))
            .app_data(web::Data::new(self.metrics_access))
            .app_data(web::Data::new(self.keys))
            .app_data(web::Data::new(self.readiness))
            .app_data(web::Data::new(docs));
    }
}

fn captcha(config: &CaptchaConfig) -> anyhow::Result<(Captcha, Option<String>)> {
    Ok(match config {
        CaptchaConfig::Off => (Captcha::Off, None),
        CaptchaConfig::Turnstile { verify_url, secret, site_key } => {
            let turnstile = Turnstile::new(verify_url.clone(), secret.clone())?;
            (Captcha::Turnstile(turnstile), Some(site_key.clone()))
        }
    })
}

/// The broker is shown and never makes the service unready: the outbox waits for it.
fn observe_bus(readiness: &Readiness, bus: &EventBus) {
    let bus = bus.clone();
    readiness.observe("rabbitmq", move || {
        let connected = bus.is_connected();
        async move { if connected { Ok(()) } else { Err("not connected".to_owned()) } }.boxed()
    });
}
