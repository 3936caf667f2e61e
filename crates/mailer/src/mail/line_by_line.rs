use std::{
    fmt, io,
    net::SocketAddr,
    pin::Pin,
    task::{Context, Poll, ready},
};

use lettre::transport::smtp::client::AsyncTokioStream;
use tokio::{
    io::{AsyncRead, AsyncWrite, ReadBuf},
    net::TcpStream,
};

/// What is asked of the socket at once before TLS.
const READ_BYTES: usize = 1024;
/// The first byte of a TLS handshake (RFC 8446, section 5.1); no command of SMTP begins with it.
const TLS_HANDSHAKE: u8 = 0x16;

/// A connection that gives its reader one line at a time until TLS begins. A reader that keeps what it read ahead would otherwise take what somebody
/// on the way sent after the answer to STARTTLS, unencrypted, for answers of the server (RFC 3207, section 6; CVE-2011-0411). Here it goes into the
/// handshake, which fails.
pub(super) struct LineByLine {
    stream: TcpStream,
    /// What was read and not given yet.
    ahead: Vec<u8>,
    is_tls: bool,
}

impl LineByLine {
    pub(super) fn new(stream: TcpStream) -> Self {
        Self { stream, ahead: Vec::new(), is_tls: false }
    }

    /// Gives what was read ahead: a line of it, or all in TLS.
    fn give(&mut self, buffer: &mut ReadBuf<'_>) {
        let line = self.ahead.iter().position(|byte| *byte == b'\n').map_or(self.ahead.len(), |end| end + 1);
        let wanted = if self.is_tls { self.ahead.len() } else { line };
        let given = self.ahead.drain(..wanted.min(buffer.remaining()));
        buffer.put_slice(given.as_slice());
    }
}

impl AsyncRead for LineByLine {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        if self.ahead.is_empty() {
            if self.is_tls {
                return Pin::new(&mut self.stream).poll_read(context, buffer);
            }
            let mut bytes = [0; READ_BYTES];
            let mut read = ReadBuf::new(&mut bytes);
            ready!(Pin::new(&mut self.stream).poll_read(context, &mut read))?;
            self.ahead.extend_from_slice(read.filled());
        }
        self.give(buffer);
        Poll::Ready(Ok(()))
    }
}

impl AsyncWrite for LineByLine {
    fn poll_write(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        self.is_tls |= bytes.first() == Some(&TLS_HANDSHAKE);
        Pin::new(&mut self.stream).poll_write(context, bytes)
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(context)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(context)
    }
}

impl AsyncTokioStream for LineByLine {
    fn peer_addr(&self) -> io::Result<SocketAddr> {
        self.stream.peer_addr()
    }
}

impl fmt::Debug for LineByLine {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("LineByLine").field("stream", &self.stream).finish_non_exhaustive()
    }
}
