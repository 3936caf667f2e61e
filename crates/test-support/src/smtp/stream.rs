//! One connection, before and after TLS.

use std::io;

use tokio::{
    io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader},
    net::TcpStream,
};
use tokio_rustls::{TlsAcceptor, server::TlsStream};
use tokio_util::either::Either;

/// RFC 5321 asks for 512 bytes; extensions and long addresses want more.
const MAX_COMMAND_BYTES: u64 = 8 * 1024;
pub(super) const MAX_MESSAGE_BYTES: usize = 16 * 1024 * 1024;

pub(super) struct Stream(BufReader<Either<TcpStream, Box<TlsStream<TcpStream>>>>);

impl Stream {
    pub(super) fn plain(stream: TcpStream) -> Self {
        Self(BufReader::new(Either::Left(stream)))
    }

    /// What was sent before the handshake is thrown away: nobody vouches for it.
    pub(super) async fn encrypted(self, acceptor: &TlsAcceptor) -> io::Result<Self> {
        match self.0.into_inner() {
            Either::Left(stream) => {
                let stream = acceptor.accept(stream).await?;
                Ok(Self(BufReader::new(Either::Right(Box::new(stream)))))
            }
            Either::Right(_) => Err(io::Error::other("encrypted already")),
        }
    }

    pub(super) fn is_encrypted(&self) -> bool {
        matches!(self.0.get_ref(), Either::Right(_))
    }

    /// A command without its end of line; `None` at the end of the connection.
    pub(super) async fn command(&mut self) -> io::Result<Option<String>> {
        let mut line = Vec::new();
        let read = (&mut self.0).take(MAX_COMMAND_BYTES).read_until(b'\n', &mut line).await?;
        let is_whole = read > 0 && line.ends_with(b"\n");
        Ok(is_whole.then(|| String::from_utf8_lossy(&line).trim_end_matches(['\r', '\n']).to_owned()))
    }

    /// A message with its dots unstuffed; `None` when the client went away.
    pub(super) async fn message(&mut self) -> io::Result<Option<Vec<u8>>> {
        let (mut message, mut line) = (Vec::new(), Vec::new());
        loop {
            line.clear();
            let limit = u64::try_from(MAX_MESSAGE_BYTES).unwrap_or(u64::MAX);
            if (&mut self.0).take(limit).read_until(b'\n', &mut line).await? == 0 {
                return Ok(None);
            }
            if line == b".\r\n" {
                return Ok(Some(message));
            }
            if message.len() <= MAX_MESSAGE_BYTES {
                message.extend_from_slice(line.strip_prefix(b".").unwrap_or(&line));
            }
        }
    }

    pub(super) async fn say(&mut self, answer: &str) -> io::Result<()> {
        self.0.write_all(format!("{answer}\r\n").as_bytes()).await?;
        self.0.flush().await
    }

    /// Says nothing until the client gives up.
    pub(super) async fn stall(mut self) -> io::Result<()> {
        tokio::io::copy(&mut self.0, &mut tokio::io::sink()).await.map(drop)
    }

    /// Ends with RST instead of FIN, as a host that was switched off and on does.
    pub(super) fn reset(self) -> io::Result<()> {
        match self.0.into_inner() {
            Either::Left(stream) => stream.set_zero_linger(),
            Either::Right(stream) => stream.get_ref().0.set_zero_linger(),
        }
    }
}
