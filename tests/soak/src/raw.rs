//! Connections that speak HTTP slowly, byte by byte.

use std::time::{Duration, Instant};

use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
    time::timeout,
};

/// What a slow connection met.
#[derive(Debug, Clone)]
pub struct Farewell {
    /// Everything that the server said.
    pub answer: String,
    /// How long the connection lived; `None` when the server never ended it.
    pub lived: Option<Duration>,
}

/// Sends `head` at once, then one byte of `rest` again and again, at every `pause`, until the server ends the connection or `patience` is
/// over.
pub async fn drip(
    address: &str,
    head: &str,
    rest: &'static [u8],
    pause: Duration,
    patience: Duration,
) -> std::io::Result<Farewell> {
    let started = Instant::now();
    let (mut from, mut to) = TcpStream::connect(address).await?.into_split();
    to.write_all(head.as_bytes()).await?;
    let mut answer = Vec::new();
    let dripping = async {
        for byte in rest.iter().cycle() {
            tokio::time::sleep(pause).await;
            // A server that closed resets; what it said before is read by the other half.
            if to.write_all(&[*byte]).await.is_err() {
                break;
            }
        }
        std::future::pending::<()>().await;
    };
    let reading = async {
        let mut buffer = [0; 4096];
        while let Ok(length @ 1..) = from.read(&mut buffer).await {
            answer.extend_from_slice(buffer.get(..length).unwrap_or_default());
        }
    };
    let ended = timeout(patience, async {
        tokio::select! {
            () = reading => {}
            () = dripping => {}
        }
    });
    let lived = ended.await.ok().map(|()| started.elapsed());
    Ok(Farewell { answer: String::from_utf8_lossy(&answer).into_owned(), lived })
}
