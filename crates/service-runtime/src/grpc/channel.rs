use std::{
    convert::Infallible,
    task::{Context, Poll},
    time::Duration,
};

use futures::future::BoxFuture;
use http::{Request, Response};
use tokio::time::Instant;
use tonic::body::Body;
use tower::Service;

use super::{
    attempts::{self, Call},
    deadline,
    failure::Failure,
    origin::Origin,
    payload::Payload,
    replicas::Replicas,
};
use crate::{ServiceAddress, Transport};

/// No client waits longer for the head of an answer; it keeps the clock from overflowing.
const LONGEST: Duration = Duration::from_hours(24);

/// Connections to all replicas of a service, which take calls in turn; they are made and made again in the background. Carries the
/// trace on. Clones share the connections.
///
/// A call without a deadline of its own gets 800 ms to the head of the answer, and ends with `DEADLINE_EXCEEDED`; one that the network
/// failed, or for which no replica can be reached, ends with `UNAVAILABLE`. A call that certainly reached no replica's code is sent to
/// another one within the same deadline. One that may have is not, unless its method is among [`Channel::repeating`].
#[derive(Debug, Clone)]
pub struct Channel {
    replicas: Replicas,
    reads: &'static [&'static str],
}

/// A channel to the replicas of a service, without waiting for a connection. Must be called inside a tokio runtime.
/// Fails when the address and the transport contradict each other.
pub fn connect_lazy(address: &ServiceAddress, transport: &Transport) -> anyhow::Result<Channel> {
    let origins: anyhow::Result<Vec<Origin>> =
        address.urls().iter().map(|url| Origin::new(url, transport)).collect();
    Ok(Channel { replicas: Replicas::of(origins?), reads: &[] })
}

impl Channel {
    /// Takes note of methods that only read, by their paths (`/package.Service/Method`): when a replica says `UNAVAILABLE`, breaks the
    /// connection or thinks for 300 ms, a second one is asked.
    #[must_use]
    pub fn repeating(self, reads: &'static [&'static str]) -> Self {
        Self { reads, ..self }
    }
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
        let deadline = Instant::now() + deadline::of_client(request.headers_mut()).min(LONGEST);
        let (head, body) = request.into_parts();
        let only_reads = self.reads.contains(&head.uri.path());
        let replicas = self.replicas.clone();
        Box::pin(async move {
            let call = Call { head, payload: Payload::of(body), deadline, only_reads };
            Ok(attempts::perform(&replicas, call).await.unwrap_or_else(Failure::into_response))
        })
    }
}
