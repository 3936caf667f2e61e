//! Connections that end when the server owes an answer for too long.
//!
//! The server ends statements that take long, and the kernel ends connections whose packets nobody acknowledges. Neither helps against a server that
//! acknowledges packets and says nothing, such as one that is frozen, or a proxy that lost it: whoever waits there waits for ever, unless the connection itself
//! gives up. An answer that stops in its middle is not noticed.

use std::{
    future::{Ready, ready},
    io::{Error, ErrorKind, Result},
    pin::Pin,
    task::{Context, Poll, ready as poll_ready},
    time::Duration,
};

use futures::{FutureExt, TryFutureExt, future::BoxFuture};
use tokio::{
    io::{AsyncRead, AsyncWrite, ReadBuf},
    time::{Sleep, sleep},
};
use tokio_postgres::tls::{ChannelBinding, MakeTlsConnect, TlsConnect, TlsStream};

/// Makes connections, by TLS or plain, that end when an answer is owed for longer than `patience`.
#[derive(Clone)]
pub(crate) struct Answering<T> {
    pub(crate) tls: T,
    pub(crate) patience: Duration,
}

impl<S, T> MakeTlsConnect<S> for Answering<T>
where
    T: MakeTlsConnect<S>,
    <T::TlsConnect as TlsConnect<S>>::Future: Send + 'static,
{
    type Stream = AnsweringStream<T::Stream>;
    type TlsConnect = Answering<T::TlsConnect>;
    type Error = T::Error;

    fn make_tls_connect(&mut self, domain: &str) -> std::result::Result<Self::TlsConnect, Self::Error> {
        Ok(Answering { tls: self.tls.make_tls_connect(domain)?, patience: self.patience })
    }
}

impl<S, T> TlsConnect<S> for Answering<T>
where
    T: TlsConnect<S>,
    T::Future: Send + 'static,
{
    type Stream = AnsweringStream<T::Stream>;
    type Error = T::Error;
    type Future = BoxFuture<'static, std::result::Result<Self::Stream, Self::Error>>;

    fn connect(self, stream: S) -> Self::Future {
        let patience = self.patience;
        let connecting = self.tls.connect(stream);
        connecting.map_ok(move |stream| AnsweringStream { stream, patience, owed: None }).boxed()
    }
}

/// "TLS" that is none. The driver hands its socket to TLS only, and with `sslnegotiation=direct` it says nothing about that to the server.
#[derive(Clone)]
pub(crate) struct Plain;

impl<S: AsyncRead + AsyncWrite + Unpin> MakeTlsConnect<S> for Plain {
    type Stream = PlainStream<S>;
    type TlsConnect = Self;
    type Error = Error;

    fn make_tls_connect(&mut self, _: &str) -> Result<Self> {
        Ok(Self)
    }
}

impl<S: AsyncRead + AsyncWrite + Unpin> TlsConnect<S> for Plain {
    type Stream = PlainStream<S>;
    type Error = Error;
    type Future = Ready<Result<PlainStream<S>>>;

    fn connect(self, stream: S) -> Self::Future {
        ready(Ok(PlainStream(stream)))
    }
}

pub(crate) struct PlainStream<S>(S);

impl<S: AsyncRead + AsyncWrite + Unpin> TlsStream for PlainStream<S> {
    fn channel_binding(&self) -> ChannelBinding {
        ChannelBinding::none()
    }
}

impl<S: AsyncRead + Unpin> AsyncRead for PlainStream<S> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<Result<()>> {
        Pin::new(&mut self.0).poll_read(context, buffer)
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for PlainStream<S> {
    fn poll_write(mut self: Pin<&mut Self>, context: &mut Context<'_>, bytes: &[u8]) -> Poll<Result<usize>> {
        Pin::new(&mut self.0).poll_write(context, bytes)
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Result<()>> {
        Pin::new(&mut self.0).poll_flush(context)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Result<()>> {
        Pin::new(&mut self.0).poll_shutdown(context)
    }
}

pub(crate) struct AnsweringStream<S> {
    stream: S,
    patience: Duration,
    /// From the first byte that was sent until one is received.
    owed: Option<Pin<Box<Sleep>>>,
}

impl<S: TlsStream + Unpin> TlsStream for AnsweringStream<S> {
    fn channel_binding(&self) -> ChannelBinding {
        self.stream.channel_binding()
    }
}

impl<S: AsyncRead + Unpin> AsyncRead for AnsweringStream<S> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<Result<()>> {
        if let Poll::Ready(read) = Pin::new(&mut self.stream).poll_read(context, buffer) {
            self.owed = None;
            return Poll::Ready(read);
        }
        let Some(owed) = &mut self.owed else { return Poll::Pending };
        poll_ready!(owed.as_mut().poll(context));
        self.owed = None;
        Poll::Ready(Err(Error::new(ErrorKind::TimedOut, "the server owes an answer for too long")))
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for AnsweringStream<S> {
    fn poll_write(mut self: Pin<&mut Self>, context: &mut Context<'_>, bytes: &[u8]) -> Poll<Result<usize>> {
        let written = poll_ready!(Pin::new(&mut self.stream).poll_write(context, bytes));
        if self.owed.is_none() {
            let mut owed = Box::pin(sleep(self.patience));
            // Whoever reads and writes is one task: it is woken for reading when the time is over.
            let _ = owed.as_mut().poll(context);
            self.owed = Some(owed);
        }
        Poll::Ready(written)
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Result<()>> {
        Pin::new(&mut self.stream).poll_flush(context)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(context)
    }
}

#[cfg(test)]
mod tests {
    use tokio::{
        io::{AsyncReadExt, AsyncWriteExt, duplex},
        time::timeout,
    };

    use super::*;

    const HOUR: Duration = Duration::from_hours(1);

    #[tokio::test(start_paused = true)]
    async fn only_an_answer_that_is_owed_comes_too_late() {
        let (ours, mut server) = duplex(64);
        let mut stream = AnsweringStream { stream: ours, patience: Duration::from_secs(5), owed: None };
        let mut answer = [0];
        assert!(timeout(HOUR, stream.read(&mut answer)).await.is_err(), "nothing was asked");
        stream.write_all(b"?").await.unwrap();
        server.write_all(b"!").await.unwrap();
        stream.read_exact(&mut answer).await.unwrap();
        assert!(timeout(HOUR, stream.read(&mut answer)).await.is_err(), "it was answered");
        stream.write_all(b"?").await.unwrap();
        let error = timeout(HOUR, stream.read(&mut answer)).await.unwrap().unwrap_err();
        assert_eq!(error.kind(), ErrorKind::TimedOut);
    }
}
