//! A tonic server that does nothing: it answers any message with another one of a given size.

use std::{
    convert::Infallible,
    future::{Ready, ready},
    net::SocketAddr,
};

use anyhow::Context as _;
use prost::Message;
use tokio::net::TcpListener;
use tonic::{
    Request, Response, Status,
    body::Body,
    codegen::{BoxFuture, Context, Poll, Service, http},
    server::{Grpc, NamedService, UnaryService},
    transport::{Certificate, Server, ServerTlsConfig, server::TcpIncoming},
};
use tonic_prost::ProstCodec;

use super::{Announcement, end_of_input};
use crate::client::Identity;

/// The path of the only method.
pub(crate) const PATH: &str = "/load.Echo/Echo";

/// Some bytes.
#[derive(Clone, PartialEq, Message)]
pub struct Payload {
    #[prost(bytes = "vec", tag = "1")]
    data: Vec<u8>,
}

impl Payload {
    /// A message that is `length` bytes long as it travels, if there is such a one, otherwise one byte shorter.
    #[must_use]
    pub fn of_length(length: usize) -> Self {
        let with = |data: usize| Self { data: vec![b'x'; data] };
        // A tag, and the length of the bytes as a varint.
        (1..=11)
            .map(|frame| with(length.saturating_sub(frame)))
            .find(|it| it.encoded_len() <= length)
            .unwrap_or_default()
    }
}

/// Serves until standard input ends.
pub async fn serve(listen: SocketAddr, answer_bytes: usize, identity: &Identity) -> anyhow::Result<()> {
    let listener = TcpListener::bind(listen).await.with_context(|| format!("cannot listen on {listen}"))?;
    let address = listener.local_addr()?;
    let mut server = Server::builder();
    if let Some(pem) = identity.read()? {
        let tls = ServerTlsConfig::new()
            .identity(tonic::transport::Identity::from_pem(pem.certificate, pem.key))
            .client_ca_root(Certificate::from_pem(pem.ca));
        server = server.tls_config(tls)?;
    }
    let incoming = TcpIncoming::from(listener).with_nodelay(Some(true));
    let running = server.add_service(Echo(Payload::of_length(answer_bytes))).serve_with_incoming(incoming);
    Announcement::Listening(address.to_string()).print()?;
    tokio::select! {
        ended = running => ended.context("the server failed"),
        () = end_of_input() => Ok(()),
    }
}

#[derive(Clone)]
struct Echo(Payload);

impl NamedService for Echo {
    const NAME: &'static str = "load.Echo";
}

impl Service<http::Request<Body>> for Echo {
    type Response = http::Response<Body>;
    type Error = Infallible;
    type Future = BoxFuture<Self::Response, Self::Error>;

    fn poll_ready(&mut self, _context: &mut Context<'_>) -> Poll<Result<(), Self::Error>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: http::Request<Body>) -> Self::Future {
        let answering = Answering(self.0.clone());
        Box::pin(async move {
            let codec = ProstCodec::<Payload, Payload>::default();
            Ok(Grpc::new(codec).unary(answering, request).await)
        })
    }
}

struct Answering(Payload);

impl UnaryService<Payload> for Answering {
    type Response = Payload;
    type Future = Ready<Result<Response<Payload>, Status>>;

    fn call(&mut self, _request: Request<Payload>) -> Self::Future {
        ready(Ok(Response::new(self.0.clone())))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn messages_have_the_length_that_was_asked_for() {
        for length in [3, 100, 129, 131, 300, 20_000] {
            assert_eq!(Payload::of_length(length).encoded_len(), length);
        }
        assert_eq!(Payload::of_length(0).encoded_len(), 0);
        // 127 bytes and their frame make 129, 128 bytes and theirs 131.
        assert_eq!(Payload::of_length(130).encoded_len(), 129);
    }
}
