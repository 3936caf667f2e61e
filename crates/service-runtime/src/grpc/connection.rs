use std::{
    io::{self, IoSlice},
    net::SocketAddr,
    pin::Pin,
    sync::{Arc, OnceLock},
    task::{Context, Poll},
};

use http::Extensions;
use tokio::{
    io::{AsyncRead, AsyncWrite, ReadBuf},
    net::TcpStream,
};
use tonic::transport::server::{Connected, TlsConnectInfo};

use super::Caller;

/// An accepted connection that remembers its caller, so that a certificate is parsed once and not with every call.
pub(super) struct Connection {
    stream: TcpStream,
    peer: Peer,
}

/// What a call knows about its connection.
#[derive(Debug, Clone)]
pub(super) struct Peer {
    address: Option<SocketAddr>,
    caller: Arc<OnceLock<Caller>>,
}

impl Connection {
    pub(super) fn new(stream: TcpStream) -> Self {
        let address = stream.peer_addr().ok();
        Self { stream, peer: Peer { address, caller: Arc::default() } }
    }
}

impl Peer {
    /// The address and the caller of the request that `extensions` belong to.
    pub(super) fn of(extensions: &Extensions) -> (Option<SocketAddr>, Caller) {
        if let Some(tls) = extensions.get::<TlsConnectInfo<Self>>() {
            let peer = tls.get_ref();
            let caller = peer.caller.get_or_init(|| {
                let certificates = tls.peer_certs();
                Caller::over_tls(certificates.as_ref().and_then(|chain| chain.first()))
            });
            return (peer.address, caller.clone());
        }
        (extensions.get::<Self>().and_then(|peer| peer.address), Caller::unverified())
    }
}

impl Connected for Connection {
    type ConnectInfo = Peer;

    fn connect_info(&self) -> Peer {
        self.peer.clone()
    }
}

impl AsyncRead for Connection {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_read(context, buffer)
    }
}

impl AsyncWrite for Connection {
    fn poll_write(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write(context, bytes)
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(context)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(context)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write_vectored(context, bytes)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }
}
