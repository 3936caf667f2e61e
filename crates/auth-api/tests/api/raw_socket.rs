//! A client that sends whatever a test wants to send.

use std::time::Duration;

use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
    time::timeout,
};

use crate::harness::TestApi;

const PATIENCE: Duration = Duration::from_secs(20);

/// Sends `bytes` and reads until the server closes the connection; everything it said. Panics when it does not close.
pub async fn until_closed(api: &TestApi, bytes: &[u8]) -> String {
    let mut connection = connect(api).await;
    // A server that has refused already may have closed, too.
    let _ = connection.write_all(bytes).await;
    let mut answer = Vec::new();
    let read = timeout(PATIENCE, async {
        let mut buffer = [0; 4096];
        while let Ok(length @ 1..) = connection.read(&mut buffer).await {
            answer.extend_from_slice(&buffer[..length]);
        }
    });
    let closed = read.await.is_ok();
    let answer = String::from_utf8_lossy(&answer).into_owned();
    assert!(closed, "left open after {:?}: {answer}", String::from_utf8_lossy(bytes).get(..200));
    answer
}

/// How many answers there are.
pub fn answers(text: &str) -> usize {
    text.matches("HTTP/1.").count()
}

/// The status of the first answer; 0 when there is none.
pub fn status(text: &str) -> u16 {
    let status = text.strip_prefix("HTTP/1.").and_then(|rest| rest.get(2..5));
    status.map_or(0, |status| status.parse().unwrap())
}

/// One connection, for one request after another.
pub struct KeptAlive(TcpStream);

impl KeptAlive {
    pub async fn open(api: &TestApi) -> Self {
        Self(connect(api).await)
    }

    /// Posts a body; status and text of the answer.
    pub async fn post(&mut self, path: &str, body: &[u8]) -> (u16, String) {
        let head = format!(
            "POST {path} HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\nContent-Length: {}\r\n\r\n",
            body.len()
        );
        self.0.write_all(&[head.as_bytes(), body].concat()).await.unwrap();
        let answer = timeout(PATIENCE, self.read()).await.unwrap();
        (status(&answer), answer)
    }

    async fn read(&mut self) -> String {
        let mut answer = String::new();
        let mut buffer = [0; 4096];
        loop {
            let length = self.0.read(&mut buffer).await.unwrap();
            assert!(length > 0, "closed: {answer}");
            answer.push_str(&String::from_utf8_lossy(&buffer[..length]));
            let Some((head, body)) = answer.split_once("\r\n\r\n") else { continue };
            let stated = head.lines().find_map(|line| line.strip_prefix("content-length: "));
            if stated.is_none_or(|stated| body.len() >= stated.parse::<usize>().unwrap()) {
                return answer;
            }
        }
    }
}

async fn connect(api: &TestApi) -> TcpStream {
    TcpStream::connect(api.url.strip_prefix("http://").unwrap()).await.unwrap()
}
