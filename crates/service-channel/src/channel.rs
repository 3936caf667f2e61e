use std::{
    convert::Infallible,
    task::{Context, Poll},
    time::Duration,
};

use futures::future::BoxFuture;
use http::{HeaderMap, Request, Response};
use tokio::time::Instant;
use tonic::body::Body;
use tower::Service;

use crate::{
    ChannelError, ServiceAddress, TlsIdentity,
    attempts::{self, Call},
    deadline,
    failure::Failure,
    origin::Origin,
    payload::Payload,
    replicas::Replicas,
};

/// No client waits longer for the head of an answer; it keeps the clock from overflowing.
const LONGEST: Duration = Duration::from_hours(24);

/// Connections to all replicas of a service, which take calls in turn; they are made and made again in the background. Clones
/// share the connections.
///
/// A call without a deadline of its own gets 800 ms to the head of the answer, and ends with `DEADLINE_EXCEEDED`; one that the network
/// failed, or for which no replica can be reached, ends with `UNAVAILABLE`. A call that certainly reached no replica's code is sent to
/// another one within the same deadline. One that may have is not, unless its method is among [`Channel::repeating`]. The deadline ends with
/// the head of the answer: a stream may go on for as long as it likes. [`AnsweredBy`](crate::AnsweredBy) is among the extensions of the answer.
#[derive(Debug, Clone)]
pub struct Channel {
    replicas: Replicas,
    reads: &'static [&'static str],
    write_headers: fn(&mut HeaderMap),
}

/// A channel to the replicas of a service, without waiting for a connection: with an identity by mutual TLS, without one unprotected.
/// Must be called inside a tokio runtime. Fails when the address and the identity contradict each other.
pub fn connect_lazy(
    address: &ServiceAddress,
    identity: Option<&TlsIdentity>,
) -> Result<Channel, ChannelError> {
    let origins: Result<Vec<Origin>, ChannelError> =
        address.urls().iter().map(|url| Origin::new(url, identity)).collect();
    Ok(Channel { replicas: Replicas::of(origins?), reads: &[], write_headers: |_| {} })
}

impl Channel {
    /// Takes note of methods that only read, by their paths (`/package.Service/Method`): when a replica says `UNAVAILABLE`, breaks the
    /// connection or thinks for 300 ms, a second one is asked.
    #[must_use]
    pub fn repeating(self, reads: &'static [&'static str]) -> Self {
        Self { reads, ..self }
    }

    /// Writes headers of every call, where the call is made: the trace that it belongs to, for example.
    #[must_use]
    pub fn writing_headers(self, write_headers: fn(&mut HeaderMap)) -> Self {
        Self { write_headers, ..self }
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
        (self.write_headers)(request.headers_mut());
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
