use std::{
    convert::Infallible,
    error::Error,
    task::{Context, Poll},
    time::Duration,
};

use anyhow::{Context as _, bail};
use futures::future::BoxFuture;
use http::{Request, Response};
use tokio::time::timeout;
use tonic::{
    Status, TimeoutExpired,
    body::Body,
    transport::{Certificate, ClientTlsConfig, Endpoint, Identity},
};
use tower::{Service, ServiceExt};
use url::Url;

use super::{deadline, error::CallError};
use crate::Transport;

const CONNECT_TIMEOUT: Duration = Duration::from_millis(500);
const KEEPALIVE: Duration = Duration::from_secs(5);

/// A connection to another service that is made when it is needed, and again when it was lost. Carries the trace on. A call without a deadline
/// of its own gets 800 ms to the head of the answer, and ends with `DEADLINE_EXCEEDED`; one that the
/// network failed ends with `UNAVAILABLE`. Clones share the connection.
#[derive(Debug, Clone)]
pub struct Channel {
    inner: tonic::transport::Channel,
}

/// A channel to `https://host:port` (or `http://` with a plaintext transport), without connecting yet. Must be called inside a tokio runtime.
/// Fails when the address and the transport contradict each other.
pub fn connect_lazy(address: &Url, transport: &Transport) -> anyhow::Result<Channel> {
    let mut endpoint = Endpoint::from_shared(address.as_str().to_owned())
        .with_context(|| format!("{address} is not an address of a gRPC service"))?
        .connect_timeout(CONNECT_TIMEOUT)
        .http2_keep_alive_interval(KEEPALIVE)
        .keep_alive_timeout(KEEPALIVE)
        .keep_alive_while_idle(true)
        .tcp_nodelay(true);
    match (address.scheme(), transport) {
        ("http", Transport::Plaintext) => {}
        ("https", Transport::MutualTls(identity)) => {
            let tls = ClientTlsConfig::new()
                .ca_certificate(Certificate::from_pem(&identity.ca))
                .identity(Identity::from_pem(&identity.certificate, &identity.key));
            endpoint = endpoint.tls_config(tls).context("the TLS identity cannot be used")?;
        }
        (_, Transport::Plaintext) => bail!("{address} must begin with http://, because gRPC is plaintext"),
        (_, Transport::MutualTls(_)) => bail!("{address} must begin with https://, because gRPC uses TLS"),
    }
    Ok(Channel { inner: endpoint.connect_lazy() })
}

impl Service<Request<Body>> for Channel {
    type Response = Response<Body>;
    type Error = Infallible;
    type Future = BoxFuture<'static, Result<Self::Response, Self::Error>>;

    /// Always: the wait for a connection belongs to the call, and to its deadline.
    fn poll_ready(&mut self, _context: &mut Context<'_>) -> Poll<Result<(), Self::Error>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, mut request: Request<Body>) -> Self::Future {
        telemetry::propagation::inject_into_headers(request.headers_mut());
        let limit = deadline::of_client(request.headers_mut());
        let call = self.inner.clone().oneshot(request);
        Box::pin(async move {
            let status = match timeout(limit, call).await {
                Ok(Ok(response)) => return Ok(response),
                Ok(Err(error)) if !is_timeout(&error) => Status::unavailable(chain(&error)),
                // tonic's own clock reads the same header, and calls it CANCELLED.
                Ok(Err(_)) | Err(_) => service_error::into_status(&CallError::DeadlineExceeded),
            };
            Ok(status.into_http())
        })
    }
}

/// The causes belong into the message: a status that went through a response has no source.
fn chain(error: &(dyn Error + 'static)) -> String {
    error.source().map_or_else(|| error.to_string(), |source| format!("{error}: {}", chain(source)))
}

fn is_timeout(error: &(dyn Error + 'static)) -> bool {
    error.is::<TimeoutExpired>() || error.source().is_some_and(is_timeout)
}
