//! One HTTP/2 connection to one replica.

use std::{
    net::SocketAddr,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use anyhow::{Context, bail, ensure};
use futures::future::BoxFuture;
use http::{Request, Response};
use hyper::client::conn::http2::{Builder, SendRequest};
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use tokio::{
    io::{AsyncRead, AsyncWrite},
    net::TcpStream,
    sync::watch,
};
use tokio_util::io::InspectReader;
use tonic::body::Body;

use crate::{failure::Failure, origin::Origin};

const KEEPALIVE: Duration = Duration::from_secs(5);

/// Sends on a connection; clones share it. The connection closes when the last of them is gone and their calls have ended.
#[derive(Clone)]
pub(crate) struct ClientConnection {
    sender: SendRequest<Body>,
    origin: Arc<Origin>,
    hearing: Arc<Hearing>,
}

/// How often something was read, and how often it had been when a call was left without an answer.
struct Hearing {
    reads: watch::Sender<u64>,
    suspected_at: AtomicU64,
}

/// Where a connection's hearing stood at a moment.
#[derive(Clone, Copy)]
pub(crate) struct Heard(u64);

/// Runs a connection, and ends when it accepts no calls any more.
pub(crate) type Running = BoxFuture<'static, hyper::Result<()>>;

/// Connects, and waits until the replica has said something: the kernel of a server that hangs or stops still accepts connections, and
/// one that does not like our certificate says so only after the handshake. A call that had been sent by then would be lost.
pub(crate) async fn open(
    origin: Arc<Origin>,
    address: SocketAddr,
) -> anyhow::Result<(ClientConnection, Running)> {
    let stream = TcpStream::connect(address).await?;
    stream.set_nodelay(true)?;
    let Some(tls) = origin.tls() else { return speak(origin, stream).await };
    let stream = tls.connector.connect(tls.server_name.clone(), stream).await.context("TLS failed")?;
    let protocol = stream.get_ref().1.alpn_protocol();
    ensure!(protocol == Some(b"h2"), "the server does not speak HTTP/2");
    speak(origin, stream).await
}

async fn speak(
    origin: Arc<Origin>,
    stream: impl AsyncRead + AsyncWrite + Unpin + Send + 'static,
) -> anyhow::Result<(ClientConnection, Running)> {
    let hearing = Arc::new(Hearing { reads: watch::Sender::new(0), suspected_at: AtomicU64::new(u64::MAX) });
    let ear = Arc::clone(&hearing);
    let stream = InspectReader::new(stream, move |bytes: &[u8]| {
        if !bytes.is_empty() {
            ear.reads.send_modify(|reads| *reads += 1);
        }
    });
    let (sender, connection) = Builder::new(TokioExecutor::new())
        .timer(TokioTimer::new())
        .keep_alive_interval(KEEPALIVE)
        .keep_alive_timeout(KEEPALIVE)
        .keep_alive_while_idle(true)
        .handshake(TokioIo::new(stream))
        .await?;
    let mut running: Running = Box::pin(connection);
    let mut reads = hearing.reads.subscribe();
    tokio::select! {
        ended = &mut running => {
            ended?;
            bail!("the server closed the connection at once");
        }
        _ = reads.wait_for(|reads| *reads > 0) => {}
    }
    Ok((ClientConnection { sender, origin, hearing }, running))
}

impl ClientConnection {
    /// Whether it accepts calls.
    pub fn is_open(&self) -> bool {
        !self.sender.is_closed()
    }

    /// Whether both are the same connection.
    pub fn is(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.hearing, &other.hearing)
    }

    /// Whether a call was left without an answer, and not a byte has come since then. Keepalive soon makes the replica speak, or ends
    /// the connection.
    pub fn is_silent(&self) -> bool {
        self.heard().0 == self.hearing.suspected_at.load(Ordering::Relaxed)
    }

    /// To be asked before a call is sent.
    pub fn heard(&self) -> Heard {
        Heard(*self.hearing.reads.borrow())
    }

    /// A call that was sent at `since` waited too long. That says nothing if the replica spoke meanwhile.
    pub fn suspect(&self, since: Heard) {
        self.hearing.suspected_at.store(since.0, Ordering::Relaxed);
    }

    /// Sends a call, and waits for the head of its answer.
    pub async fn send(mut self, mut request: Request<Body>) -> Result<Response<Body>, Failure> {
        *request.uri_mut() = self.origin.uri_of(request.uri().clone()).map_err(Failure::Malformed)?;
        let answer = self.sender.send_request(request).await.map_err(Failure::Broken)?;
        Ok(answer.map(Body::new))
    }
}
