//! Puts the parts together; the same for the binary and for tests.

use std::{
    net::{SocketAddr, TcpListener},
    sync::Arc,
    time::Duration,
};

use access_tokens::TokenScope;
use actix_web::{App, HttpServer, middleware::from_fn, web};
use anyhow::Context as _;
use clock::SharedClock;
use event_bus::EventBus;
use futures::FutureExt;
use outbox::{Relay, RelaySettings, Wake};
use pg::Database;
use prometheus::Registry;
use rate_limit::{RateLimitSettings, RateLimiter};
use service_runtime::{
    CommonConfig, Lifecycle, Readiness, ServiceAddress, Transport, grpc, require_database,
};
use session_verifier::{TlsIdentity, Verifier, VerifierConfig};
use tokio::sync::Notify;
use tokio_util::sync::CancellationToken;
use turns::Turns;
use utoipa_actix_web::AppExt;

use crate::{
    app::{deferred, export_data, known_accounts::KnownAccounts, maintenance, rest::Rest, revocation},
    clients::{
        audit::AuditLog,
        captcha::{Captcha, Turnstile},
        sessions::Sessions,
    },
    config::{CaptchaConfig, Config, LimitConfig},
    domain::route_limits::LIMIT_NAMES,
    http::{self, EdgeSettings, MetricsAccess, OpenApiJson, Origins, v1::config::FrontendConfig},
    metrics::Metrics,
    password::{HashPool, Kernel, PasswordVault},
    service::MIGRATIONS,
    state::AppState,
};

/// How long the start waits for session-service, so that the first requests need not ask it.
const FIRST_CONTACT: Duration = Duration::from_secs(1);
const HEADER_DEADLINE: Duration = Duration::from_secs(5);
/// What may be asked of a second replica when the first is slow or gone.
const SESSION_READS: &[&str] = &[
    "/feature_auth.session.v1.SessionService/Validate",
    "/feature_auth.session.v1.SessionService/ValidateBatch",
    "/feature_auth.session.v1.SessionService/GetPublicKeys",
    "/feature_auth.session.v1.SessionService/ListSessions",
];
const AUDIT_READS: &[&str] =
    &["/feature_auth.audit.v1.AuditService/Search", "/feature_auth.audit.v1.AuditService/Get"];
/// Deferred requests that are done at once; each holds a connection.
const DEFERRED_WORKERS: usize = 2;
/// How long the relay may go on after the last request.
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
    session_service: ServiceAddress,
    transport: Transport,
    edge: EdgeSettings,
    origins: Origins,
    frontend: FrontendConfig,
    openapi: OpenApiJson,
    metrics_access: MetricsAccess,
    readiness: Readiness,
}

/// [`AppState`] before each worker opens its own connection to session-service.
#[derive(Clone)]
struct StateWithoutSessions {
    database: Database,
    vault: PasswordVault,
    captcha: Captcha,
    limiter: RateLimiter,
    clock: SharedClock,
    outbox: Wake,
    deferred: Arc<Notify>,
    attempt_turns: Arc<Turns<(&'static str, Vec<u8>)>>,
    metrics: Metrics,
    verifier: Verifier,
    session_service_rest: Arc<Rest>,
    accounts: KnownAccounts,
    config: Config,
}

impl Application {
    /// Binds the listener and makes everything that the workers share. Waits a moment for session-service, and for nothing else: dependencies may be away.
    pub async fn build(
        mut config: Config,
        common: &CommonConfig,
        lifecycle: &Lifecycle,
        registry: Registry,
        clock: SharedClock,
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
        config.passwords = config.passwords.counting(metrics.password_breached.clone());
        let wake = Wake::default();
        let relay = Relay::new(
            common.database_settings("auth-api outbox"),
            bus.publisher(),
            // Half of what it brings becomes mails, which cost the database ten times as much as facts.
            RelaySettings { speed: 8.0, ..RelaySettings::default() },
            wake.clone(),
            &registry,
        )?;
        let kernel = Kernel::choose(config.password_hash_kernel, &mut clock::secure_rng());
        tracing::info!("Passwords are hashed by the {kernel} kernel");
        let cores = std::thread::available_parallelism().map_or(1, usize::from);
        let pool = HashPool::new(kernel, cores, &registry)?;
        let (captcha, site_key) = captcha(&config.captcha, &registry)?;
        let limiter = limiter(&config.limits, &registry)?;
        let verifier = Verifier::connect(verifier_config(&config, common, &registry, &clock)).await?;
        let edge = EdgeSettings {
            allowed_hosts: config.allowed_hosts.clone(),
            trusted_proxies: config.trusted_proxies.clone(),
            docs_url: config.addresses.docs.clone(),
            methods: Arc::new(http::openapi::methods_by_route()),
            metrics: metrics.clone(),
        };
        let parts = Parts {
            session_service: config.session_service_url.clone(),
            transport: common.transport.clone(),
            edge,
            origins: config.origins.clone(),
            frontend: FrontendConfig::new(site_key, config.registration_open),
            openapi: OpenApiJson::collect()?,
            metrics_access: MetricsAccess { networks: config.metrics_allow.clone(), registry },
            readiness,
            state: StateWithoutSessions {
                database,
                vault: PasswordVault::new(pool, config.password_keys.clone(), config.password_hash),
                captcha,
                limiter,
                clock,
                outbox: wake,
                deferred: Arc::default(),
                attempt_turns: Arc::default(),
                metrics,
                verifier,
                session_service_rest: Arc::default(),
                accounts: KnownAccounts::default(),
                config,
            },
        };
        Ok(Self { listener, parts, relay })
    }

    /// Where the public interface listens.
    pub fn local_addr(&self) -> anyhow::Result<SocketAddr> {
        Ok(self.listener.local_addr()?)
    }

    /// What use cases work with, as each worker has it.
    pub fn state(&self) -> anyhow::Result<AppState> {
        self.parts.state_of_worker()
    }

    /// Serves until `lifecycle` stops, then finishes the requests that were begun.
    pub async fn run(self, lifecycle: &Lifecycle) -> anyhow::Result<()> {
        let Self { listener, parts, relay } = self;
        let stopping = lifecycle.stopping();
        // Requests that still run when the process is told to stop write to the outbox, too.
        let drained = CancellationToken::new();
        lifecycle.spawn("outbox relay", relay.run(drained.clone(), RELAY_DRAIN));
        let _drained = drained.drop_guard();
        // Fails early, and once, instead of in every worker.
        let background = parts.state_of_worker()?;
        let maintaining = maintenance::maintain(background.clone(), stopping.clone());
        lifecycle.spawn("maintenance", maintaining);
        let revoking = revocation::carry_out_what_is_left(background.clone(), stopping.clone());
        lifecycle.spawn("pending revocations", revoking);
        let copying = export_data::make_copies(background.clone(), stopping.clone());
        lifecycle.spawn("data exports", copying);
        for _ in 0..DEFERRED_WORKERS {
            let working = deferred::do_deferred(background.clone(), stopping.clone());
            lifecycle.spawn("deferred requests", working);
        }
        let server = HttpServer::new(move || {
            let worker = parts.clone();
            let edge = web::Data::new(worker.edge.clone());
            let cors = worker.origins.cors();
            let (app, _) = App::new().into_utoipa_app().configure(http::documented_routes).split_for_parts();
            app.configure(http::undocumented_routes)
                .configure(|services| worker.install(services))
                .wrap(from_fn(http::deadline))
                .wrap(cors)
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
        let StateWithoutSessions {
            database,
            vault,
            captcha,
            limiter,
            clock,
            outbox,
            deferred,
            attempt_turns,
            metrics,
            verifier,
            session_service_rest,
            accounts,
            config,
        } = self.state.clone();
        let channel = grpc::connect_lazy(&self.session_service, &self.transport)?.repeating(SESSION_READS);
        Ok(AppState {
            database,
            sessions: Sessions::new(channel),
            verifier,
            session_service_rest,
            accounts,
            audit: AuditLog::new(
                grpc::connect_lazy(&config.audit_service_url, &self.transport)?.repeating(AUDIT_READS),
            ),
            vault,
            passwords: config.passwords,
            captcha,
            limiter,
            clock,
            outbox,
            deferred,
            attempt_turns,
            data_keys: config.data_keys,
            registration_open: config.registration_open,
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
            .app_data(web::Data::new(self.origins))
            .app_data(web::Data::new(self.openapi))
            .app_data(web::Data::new(self.metrics_access))
            .app_data(web::Data::new(self.readiness))
            .app_data(web::Data::new(docs));
    }
}

/// The verifier of access tokens has a connection of its own: what it hears does not wait behind logins.
fn verifier_config(
    config: &Config,
    common: &CommonConfig,
    registry: &Registry,
    clock: &SharedClock,
) -> VerifierConfig {
    let TokenScope { issuer, audience, .. } = &config.token_scope;
    let mut verifier = VerifierConfig::new(config.session_service_url.to_string(), issuer, audience);
    common.environment.name().clone_into(&mut verifier.environment);
    verifier.identity = match &common.transport {
        Transport::Plaintext => None,
        Transport::MutualTls(identity) => Some(TlsIdentity::from_pem(
            identity.ca.clone(),
            identity.certificate.clone(),
            identity.key.clone(),
        )),
    };
    // What may be plaintext was decided when the configuration was read.
    verifier.service_mesh_tls = matches!(common.transport, Transport::Plaintext);
    verifier.first_contact = FIRST_CONTACT;
    verifier.registry = Some(registry.clone());
    verifier.clock = Arc::clone(clock);
    verifier
}

fn captcha(config: &CaptchaConfig, registry: &Registry) -> anyhow::Result<(Captcha, Option<String>)> {
    Ok(match config {
        CaptchaConfig::Off => (Captcha::Off, None),
        CaptchaConfig::Turnstile { settings, site_key } => {
            let turnstile = Turnstile::new(settings.clone(), registry)?;
            (Captcha::Turnstile(turnstile), Some(site_key.clone()))
        }
    })
}

fn limiter(config: &LimitConfig, registry: &Registry) -> anyhow::Result<RateLimiter> {
    Ok(match config {
        LimitConfig::Off => {
            tracing::warn!("Requests are not limited");
            RateLimiter::off()
        }
        LimitConfig::On { redis_url: Some(url), key_prefix, replicas } => {
            let settings = RateLimitSettings::new(url.clone(), key_prefix, *replicas, LIMIT_NAMES);
            RateLimiter::new(&settings, registry)?
        }
        LimitConfig::On { redis_url: None, replicas, .. } => {
            tracing::warn!("There is no REDIS_URL: each of {replicas} replicas limits by its own counts");
            RateLimiter::without_redis(*replicas, LIMIT_NAMES, registry)?
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
