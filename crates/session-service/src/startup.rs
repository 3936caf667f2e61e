//! Puts the service together and runs it; tests do the same.

use std::{net::SocketAddr, sync::Arc, time::Duration};

use access_tokens::{TokenScope, TokenVerifier};
use chrono::TimeDelta;
use clock::SharedClock;
use event_bus::EventBus;
use futures::FutureExt;
use outbox::{Relay, RelaySettings, Wake};
use pg::Database;
use prometheus::Registry;
use secrecy::ExposeSecret;
use service_runtime::{
    CommonConfig, Environment, Lifecycle, Readiness,
    grpc::{Caller, MethodPolicy, Server, ServerSettings},
    require_database,
};
use tokio::sync::Semaphore;
use tokio_util::sync::CancellationToken;
use tonic::service::Routes;
use turns::Turns;
use url::Url;

use crate::{
    Config, SERVICE_NAME,
    app::{
        denied_calls::{self, DeniedCalls, DeniedCallsWriter},
        last_seen::LastSeen,
        maintenance,
        peer_signal::PeerSignal,
        revocation_feed::RevocationFeed,
        signing_keys::SigningKeys,
    },
    migrations, rpc,
    state::{App, Metrics},
};

/// How long the relay may go on after the last call.
const RELAY_DRAIN: Duration = Duration::from_secs(5);
/// Tokens that are remembered as good; at about 1 KiB each.
const SEEN_TOKENS: usize = 50_000;
/// Each watcher costs a stream; there is one for each process that verifies tokens.
const MAX_WATCHERS: usize = 1024;

/// The service, bound to its socket and not serving yet.
pub struct Application {
    server: Server,
    app: Arc<App>,
    events: EventBus,
    relay: Relay,
    peers: PeerSignal,
    key_rotation: TimeDelta,
    denied_calls: (DeniedCalls, DeniedCallsWriter),
    /// Nothing is read or written before this is cancelled.
    begin: CancellationToken,
}

impl Application {
    /// Binds the socket; port 0 is allowed. No dependency needs to be there.
    pub async fn build(
        config: Config,
        common: &CommonConfig,
        clock: SharedClock,
        registry: &Registry,
    ) -> anyhow::Result<Self> {
        let database = Database::new(&common.database_settings(SERVICE_NAME))?;
        database.register_metrics(registry)?;
        let events = EventBus::new(&common.amqp_url, SERVICE_NAME, registry)?;
        let wake = Wake::default();
        let relay = Relay::new(
            common.database_settings("session-service outbox"),
            events.publisher(),
            RelaySettings::default(),
            wake.clone(),
            registry,
        )?;
        let server = Server::bind(
            ServerSettings {
                listen: config.grpc_listen,
                transport: common.transport.clone(),
                reflection: common.environment == Environment::Development,
            },
            registry,
        )
        .await?;
        let environment = common.environment.name();
        let scope = TokenScope::new(environment, &config.token_issuer, &config.token_audience);
        let verifier = Arc::new(TokenVerifier::new(scope.clone(), SEEN_TOKENS));
        let peers = PeerSignal::new(config.redis_url.as_ref(), &peer_scope(&config, common), registry)?;
        let key_ring = config.key_ring;
        let keys = SigningKeys::new(
            database.clone(),
            key_ring.clone(),
            Arc::clone(&clock),
            wake.clone(),
            Arc::clone(&verifier),
        );
        keys.register_metrics(registry, Arc::clone(&clock))?;
        // So has the feed: calls that crowd the pool must not make this replica forget what was revoked.
        let feed_pool = pg::DatabaseSettings {
            max_connections: 1,
            ..common.database_settings("session-service revocations")
        };
        let feed_database = Database::new(&feed_pool)?;
        let feed =
            RevocationFeed::new(feed_database, Arc::clone(&clock), keys.clone(), peers.clone(), registry)?;
        let denied_calls = denied_calls::channel(Arc::clone(&clock));
        let app = App {
            keys,
            verifier,
            feed,
            database,
            clock,
            key_ring,
            scope,
            token_ttl: config.token_ttl,
            last_seen: LastSeen::default(),
            turns: Turns::default(),
            wake,
            watchers: Arc::new(Semaphore::new(MAX_WATCHERS)),
            metrics: Metrics::register(registry)?,
        };
        Ok(Self {
            server,
            app: Arc::new(app),
            events,
            relay,
            peers,
            key_rotation: config.token_key_rotation,
            denied_calls,
            begin: at_once(),
        })
    }

    /// Where gRPC is served.
    #[must_use]
    pub fn local_addr(&self) -> SocketAddr {
        self.server.local_addr()
    }

    /// Where sessions are.
    #[must_use]
    pub fn database(&self) -> &Database {
        &self.app.database
    }

    /// The same, which begins when `begin` is cancelled.
    #[must_use]
    pub fn when(self, begin: CancellationToken) -> Self {
        Self { begin, ..self }
    }

    /// Serves until `lifecycle` stops.
    pub async fn run(self, lifecycle: Lifecycle) -> anyhow::Result<()> {
        let Self {
            server,
            app,
            events,
            relay,
            peers,
            key_rotation,
            denied_calls: (denied_calls, writer),
            begin,
        } = self;
        register_checks(&lifecycle.readiness(), &app, &events);

        let stop = lifecycle.stopping();
        // What is read and written by a time that is wrong stays wrong when the time is right.
        if stop.run_until_cancelled(begin.cancelled()).await.is_none() {
            return Ok(());
        }
        lifecycle.spawn("signing_keys", app.keys.clone().keep_fresh(key_rotation, stop.clone()));
        lifecycle.spawn("revocation_feed", app.feed.clone().keep_current(stop.clone()));
        // Calls that still run when the process is told to stop revoke and write to the outbox, too.
        let drained = CancellationToken::new();
        lifecycle.spawn("peer_signal", peers.run(drained.clone()));
        lifecycle.spawn("outbox_relay", relay.run(drained.clone(), RELAY_DRAIN));
        let _drained = drained.drop_guard();
        lifecycle.spawn("maintenance", maintenance::run(Arc::clone(&app), stop.clone()));
        lifecycle.spawn("last_seen", app.last_seen.clone().keep_stored(app.database.clone(), stop.clone()));
        let (database, clock, wake) = (app.database.clone(), Arc::clone(&app.clock), app.wake.clone());
        lifecycle.spawn("denied_calls", writer.run(database, clock, wake, stop));

        let policy = MethodPolicy::new(rpc::POLICY)
            .hot(rpc::HOT)
            .on_denied(move |caller: &Caller, method: &str| denied_calls.note(caller.name(), method));
        let routes = Routes::new(rpc::server(Arc::clone(&app), lifecycle.stopping()))
            .add_service(rpc::ext_authz_server(Arc::clone(&app)));
        let served = server.serve(routes, policy, lifecycle).await;
        // The calls that were running when the process was told to stop have left their notes by now.
        app.last_seen.store(&app.database).await;
        served
    }
}

fn at_once() -> CancellationToken {
    let token = CancellationToken::new();
    token.cancel();
    token
}

/// What all replicas of one database have in common and others have not. Its host is not part of it: replicas may know it by several names.
pub fn peer_scope(config: &Config, common: &CommonConfig) -> String {
    let database = Url::parse(common.database_url.expose_secret());
    format!("{} {}", config.token_issuer, database.as_ref().map_or("", Url::path))
}

fn register_checks(readiness: &Readiness, app: &Arc<App>, events: &EventBus) {
    require_database(readiness, &app.database, migrations);
    let checked = Arc::clone(app);
    readiness.require("signing_key", move || {
        let can_sign = checked.keys.current().signer(checked.now()).is_some();
        let result = if can_sign { Ok(()) } else { Err("no signing key is loaded".to_owned()) };
        std::future::ready(result).boxed()
    });
    let events = events.clone();
    readiness.observe("rabbitmq", move || {
        let result = if events.is_connected() { Ok(()) } else { Err("not connected".to_owned()) };
        std::future::ready(result).boxed()
    });
}
