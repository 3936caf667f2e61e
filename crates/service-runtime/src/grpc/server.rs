use std::{net::SocketAddr, sync::Arc, time::Duration};

use anyhow::Context;
use prometheus::Registry;
use tokio::net::TcpListener;
use tokio_stream::StreamExt;
use tonic::{
    service::Routes,
    transport::{Certificate, Identity, Server as Transporter, ServerTlsConfig, server::TcpIncoming},
};
use tonic_health::pb::health_server::HealthServer;
use tracing::info;

use super::{
    MethodPolicy,
    call::{CallLayer, Rules},
    connection::Connection,
    health::Health,
    metrics::CallMetrics,
};
use crate::{Lifecycle, Transport};

/// A client that has not finished its handshake by then is not one.
const HANDSHAKE_TIMEOUT: Duration = Duration::from_secs(5);
const KEEPALIVE_INTERVAL: Duration = Duration::from_secs(10);
const KEEPALIVE_TIMEOUT: Duration = Duration::from_secs(5);
const MAX_HEADER_BYTES: u32 = 16 * 1024;
const MAX_STREAMS_PER_CONNECTION: u32 = 256;

/// Where and how a server listens.
#[derive(Debug, Clone)]
pub struct ServerSettings {
    /// The address; port 0 is allowed.
    pub listen: SocketAddr,
    /// Whether clients prove who they are.
    pub transport: Transport,
    /// Whether `grpc.reflection.v1` answers.
    pub reflection: bool,
}

/// A gRPC server that is bound and does not serve yet.
#[derive(Debug)]
pub struct Server {
    settings: ServerSettings,
    listener: TcpListener,
    local_addr: SocketAddr,
    metrics: CallMetrics,
}

impl Server {
    /// Binds the socket and registers the metrics. Fails when the address is taken, or when `registry` has a server already.
    pub async fn bind(settings: ServerSettings, registry: &Registry) -> anyhow::Result<Self> {
        let listen = settings.listen;
        let listener =
            TcpListener::bind(listen).await.with_context(|| format!("cannot listen on {listen}"))?;
        let local_addr = listener.local_addr()?;
        Ok(Self { settings, listener, local_addr, metrics: CallMetrics::register(registry)? })
    }

    /// The address that was bound.
    #[must_use]
    pub fn local_addr(&self) -> SocketAddr {
        self.local_addr
    }

    /// Serves until `lifecycle` stops and the calls that run have ended; streams must end by themselves when it stops. Adds
    /// `grpc.health.v1` (SERVING follows readiness) and, when asked, reflection; both are open to everybody who can connect.
    pub async fn serve(
        self,
        services: Routes,
        policy: MethodPolicy,
        lifecycle: Lifecycle,
    ) -> anyhow::Result<()> {
        let names = policy.services();
        let health = Health {
            readiness: lifecycle.readiness(),
            services: names.clone(),
            stopping: lifecycle.stopping(),
        };
        let mut routes = services.add_service(HealthServer::new(health));
        if self.settings.reflection {
            let mut reflection = tonic_reflection::server::Builder::configure()
                .register_encoded_file_descriptor_set(auth_proto::FILE_DESCRIPTOR_SET)
                .register_encoded_file_descriptor_set(tonic_health::pb::FILE_DESCRIPTOR_SET);
            // Of all the services that the set describes, these are the ones that answer here.
            for name in names.into_iter().chain(["grpc.health.v1.Health"]) {
                reflection = reflection.with_service_name(name);
            }
            routes = routes.add_service(reflection.build_v1()?);
        }
        let mut server = Transporter::builder()
            .http2_keepalive_interval(Some(KEEPALIVE_INTERVAL))
            .http2_keepalive_timeout(Some(KEEPALIVE_TIMEOUT))
            .http2_max_header_list_size(MAX_HEADER_BYTES)
            .max_concurrent_streams(MAX_STREAMS_PER_CONNECTION);
        if let Transport::MutualTls(identity) = &self.settings.transport {
            let tls = ServerTlsConfig::new()
                .identity(Identity::from_pem(&identity.certificate, &identity.key))
                .client_ca_root(Certificate::from_pem(&identity.ca))
                .timeout(HANDSHAKE_TIMEOUT);
            server = server.tls_config(tls).context("the TLS identity cannot be used")?;
        }
        info!(address = %self.local_addr, "gRPC is listening");
        let connections = TcpIncoming::from(self.listener)
            .with_nodelay(Some(true))
            .map(|stream| stream.map(Connection::new));
        server
            .layer(CallLayer(Arc::new(Rules { policy, metrics: self.metrics })))
            .add_routes(routes)
            .serve_with_incoming_shutdown(connections, lifecycle.stopping().cancelled_owned())
            .await
            .context("the gRPC server failed")
    }
}
