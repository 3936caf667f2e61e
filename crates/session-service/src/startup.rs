//! Puts the service together and runs it; tests do the same.

use std::{net::SocketAddr, sync::Arc, time::Duration};

use clock::SharedClock;
use event_bus::EventBus;
use futures::FutureExt;
use outbox::{Relay, RelaySettings, Wake};
use pg::Database;
use prometheus::Registry;
use service_runtime::{
    CommonConfig, Environment, Lifecycle, Readiness,
    grpc::{Caller, MethodPolicy, Server, ServerSettings},
    require_database,
};
use tonic::service::Routes;
use turns::Turns;

use crate::{
    Config, SERVICE_NAME,
    app::{
        denied_calls::{self, DeniedCalls, DeniedCallsWriter},
        last_seen::LastSeen,
        signing_keys::SigningKeys,
    },
    domain::access_token::TokenScope,
    migrations, rpc,
    state::{App, Metrics},
};

/// How long the relay may go on after the process was told to stop.
const RELAY_DRAIN: Duration = Duration::from_secs(5);

/// The service, bound to its socket and not serving yet.
pub struct Application {
    server: Server,
    app: Arc<App>,
    events: EventBus,
    relay: Relay,
    denied_calls: (DeniedCalls, DeniedCallsWriter),
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
        // The relay has a pool of its own: calls and relay must not wait for each other.
        let relay_pool =
            pg::DatabaseSettings { max_connections: 2, ..common.database_settings("session-service outbox") };
        let relay = Relay::new(
            Database::new(&relay_pool)?,
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
        let environment = environment_name(common.environment);
        let key_ring = config.key_ring;
        let app = App {
            keys: SigningKeys::new(database.clone(), key_ring.clone(), Arc::clone(&clock), wake.clone()),
            database,
            clock,
            key_ring,
            scope: TokenScope::new(environment, &config.token_issuer, &config.token_audience),
            token_ttl: config.token_ttl,
            last_seen: LastSeen::default(),
            turns: Turns::default(),
            wake,
            metrics: Metrics::register(registry)?,
        };
        Ok(Self { server, app: Arc::new(app), events, relay, denied_calls: denied_calls::channel() })
    }

    /// Where gRPC is served.
    #[must_use]
    pub fn local_addr(&self) -> SocketAddr {
        self.server.local_addr()
    }

    /// Serves until `lifecycle` stops.
    pub async fn run(self, lifecycle: Lifecycle) -> anyhow::Result<()> {
        let Self { server, app, events, relay, denied_calls: (denied_calls, writer) } = self;
        register_checks(&lifecycle.readiness(), &app, &events);

        let stop = lifecycle.stopping();
        lifecycle.spawn("signing_keys", app.keys.clone().keep_fresh(stop.clone()));
        lifecycle.spawn("last_seen", app.last_seen.clone().keep_stored(app.database.clone(), stop.clone()));
        let (database, clock, wake) = (app.database.clone(), Arc::clone(&app.clock), app.wake.clone());
        lifecycle.spawn("denied_calls", writer.run(database, clock, wake, stop.clone()));
        lifecycle.spawn("outbox_relay", relay.run(stop, RELAY_DRAIN));

        let policy = MethodPolicy::new(rpc::POLICY)
            .on_denied(move |caller: &Caller, method: &str| denied_calls.note(caller.name(), method));
        let served = server.serve(Routes::new(rpc::server(Arc::clone(&app))), policy, lifecycle).await;
        // The calls that were running when the process was told to stop have left their notes by now.
        app.last_seen.store(&app.database).await;
        served
    }
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

/// Part of what tokens are bound to: never change a name.
fn environment_name(environment: Environment) -> &'static str {
    match environment {
        Environment::Development => "development",
        Environment::Production => "production",
    }
}
