//! A server that repeats what it hears, behind a bad network.
#![expect(clippy::unwrap_used, reason = "a test may panic")]

use std::{
    io,
    sync::{Arc, Mutex},
    time::{Duration, Instant},
};

use chaos::{Cut, Direction, Faults, Proxy, Trigger};
use test_support::eventually;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpListener, TcpStream},
    task::JoinSet,
    time::timeout,
};

const SOON: Duration = Duration::from_secs(10);
/// Long enough to say that nothing comes.
const QUIET: Duration = Duration::from_millis(300);

/// Repeats every byte, and remembers what it heard.
struct Echo {
    url: secrecy::SecretString,
    heard: Arc<Mutex<Vec<u8>>>,
    _tasks: JoinSet<()>,
}

impl Echo {
    async fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("tcp://{}", listener.local_addr().unwrap()).into();
        let heard = Arc::new(Mutex::new(Vec::new()));
        let mut tasks = JoinSet::new();
        let all = Arc::clone(&heard);
        tasks.spawn(async move {
            let mut sessions = JoinSet::new();
            while let Ok((stream, _)) = listener.accept().await {
                sessions.spawn(repeat(stream, Arc::clone(&all)));
            }
        });
        Self { url, heard, _tasks: tasks }
    }

    fn heard(&self) -> String {
        String::from_utf8(self.heard.lock().unwrap().clone()).unwrap()
    }

    async fn hears(&self, text: &str) {
        eventually("the server hears it", SOON, async || (self.heard() == text).then_some(())).await;
    }
}

async fn repeat(mut stream: TcpStream, heard: Arc<Mutex<Vec<u8>>>) {
    let mut piece = [0; 4096];
    while let Ok(length @ 1..) = stream.read(&mut piece).await {
        let piece = piece.get(..length).unwrap();
        heard.lock().unwrap().extend_from_slice(piece);
        if stream.write_all(piece).await.is_err() {
            return;
        }
    }
    // Whoever has no more to say still gets this.
    let _ = stream.write_all(b"bye").await;
}

async fn connect(proxy: &Proxy) -> TcpStream {
    TcpStream::connect(proxy.address()).await.unwrap()
}

async fn say(stream: &mut TcpStream, text: &str) {
    stream.write_all(text.as_bytes()).await.unwrap();
}

/// Waits for exactly this.
async fn hear(stream: &mut TcpStream, text: &str) {
    let mut answer = vec![0; text.len()];
    timeout(SOON, stream.read_exact(&mut answer)).await.unwrap().unwrap();
    assert_eq!(String::from_utf8(answer).unwrap(), text);
}

async fn hear_nothing(stream: &mut TcpStream) {
    assert!(timeout(QUIET, stream.read(&mut [0; 1])).await.is_err());
}

async fn is_reset(stream: &mut TcpStream) {
    let error = timeout(SOON, stream.read(&mut [0; 1])).await.unwrap().unwrap_err();
    assert_eq!(error.kind(), io::ErrorKind::ConnectionReset);
}

#[tokio::test]
async fn a_good_network_changes_nothing() {
    let (echo, text) = (Echo::start().await, "x".repeat(300_000));
    let proxy = Proxy::present(&echo.url).await;
    let mut stream = connect(&proxy).await;
    let (mut from, mut to) = stream.split();
    let mut answer = String::new();
    let talk = async {
        to.write_all(text.as_bytes()).await.unwrap();
        to.shutdown().await.unwrap();
    };
    let ((), read) = tokio::join!(talk, from.read_to_string(&mut answer));
    read.unwrap();
    assert_eq!(answer, format!("{text}bye"));
    let counts =
        eventually("the connection ended", SOON, async || Some(proxy.counts()).filter(|it| it.open == 0))
            .await;
    assert_eq!((counts.connections, counts.bytes_to_server, counts.bytes_from_server), (1, 300_000, 300_003));
}

#[tokio::test]
async fn latency_delays_and_does_not_narrow() {
    let echo = Echo::start().await;
    let proxy = Proxy::present(&echo.url).await;
    let mut stream = connect(&proxy).await;
    proxy.suffer(Faults::latency(Duration::from_millis(150)));
    let began = Instant::now();
    for _ in 0..10 {
        say(&mut stream, "0123456789").await;
    }
    hear(&mut stream, &"0123456789".repeat(10)).await;
    let took = began.elapsed();
    assert!(took >= Duration::from_millis(300) && took < Duration::from_secs(1), "{took:?}");
    proxy.suffer(Faults::slow_answers(Duration::from_millis(200)));
    let began = Instant::now();
    say(&mut stream, "x").await;
    hear(&mut stream, "x").await;
    assert!(began.elapsed() >= Duration::from_millis(200));
}

#[tokio::test]
async fn throughput_is_limited_on_connections_that_there_are() {
    let echo = Echo::start().await;
    let proxy = Proxy::present(&echo.url).await;
    let mut stream = connect(&proxy).await;
    proxy.suffer(Faults::throughput(20_000));
    let (began, text) = (Instant::now(), "x".repeat(10_000));
    say(&mut stream, &text).await;
    hear(&mut stream, &text).await;
    let took = began.elapsed();
    assert!(took >= Duration::from_millis(450) && took < Duration::from_secs(3), "{took:?}");
    proxy.recover();
    let began = Instant::now();
    say(&mut stream, &text).await;
    hear(&mut stream, &text).await;
    assert!(began.elapsed() < Duration::from_millis(450));
}

#[tokio::test]
async fn what_waits_arrives_and_what_fell_silent_does_not() {
    let echo = Echo::start().await;
    let proxy = Proxy::present(&echo.url).await;
    let mut stream = connect(&proxy).await;
    proxy.hold();
    say(&mut stream, "held").await;
    hear_nothing(&mut stream).await;
    proxy.release();
    hear(&mut stream, "held").await;

    proxy.fall_silent();
    say(&mut stream, "lost").await;
    let mut during = connect(&proxy).await;
    say(&mut during, "lost too").await;
    hear_nothing(&mut stream).await;
    hear_nothing(&mut during).await;
    proxy.talk_again();
    hear_nothing(&mut stream).await;
    hear_nothing(&mut during).await;
    let mut after = connect(&proxy).await;
    say(&mut after, "new").await;
    hear(&mut after, "new").await;
    assert_eq!(echo.heard(), "heldnew");
    proxy.reset();
    for mut stream in [stream, during, after] {
        is_reset(&mut stream).await;
    }
}

#[tokio::test]
async fn an_absent_server_refuses_and_may_come_back() {
    let echo = Echo::start().await;
    let mut proxy = Proxy::absent(&echo.url).await;
    assert!(!proxy.is_present());
    assert!(TcpStream::connect(proxy.address()).await.is_err());
    proxy.appear().await;
    let mut stream = connect(&proxy).await;
    say(&mut stream, "x").await;
    hear(&mut stream, "x").await;
    proxy.vanish().await;
    assert!(matches!(timeout(SOON, stream.read(&mut [0; 1])).await.unwrap(), Ok(0) | Err(_)));
    assert!(TcpStream::connect(proxy.address()).await.is_err());
    proxy.appear().await;
    let mut stream = connect(&proxy).await;
    say(&mut stream, "y").await;
    hear(&mut stream, "y").await;
}

#[tokio::test]
async fn one_way_may_close_alone() {
    let echo = Echo::start().await;
    let proxy = Proxy::present(&echo.url).await;
    let mut stream = connect(&proxy).await;
    say(&mut stream, "x").await;
    hear(&mut stream, "x").await;
    proxy.half_close(Direction::ToServer);
    hear(&mut stream, "bye").await;
    let mut stream = connect(&proxy).await;
    say(&mut stream, "x").await;
    hear(&mut stream, "x").await;
    proxy.half_close(Direction::FromServer);
    assert_eq!(timeout(SOON, stream.read(&mut [0; 1])).await.unwrap().unwrap(), 0);
    say(&mut stream, "still").await;
    echo.hears("xxstill").await;
}

#[tokio::test]
async fn a_pattern_resets_before_it_arrives_or_instead_of_the_answer() {
    let echo = Echo::start().await;
    let proxy = Proxy::present(&echo.url).await;
    proxy.arm(Trigger::on(b"COMMIT").times(2).every(1));
    for (number, is_cut) in [false, true, false, true, false, false].into_iter().enumerate() {
        let (mut stream, text) = (connect(&proxy).await, format!("{number}:COM"));
        say(&mut stream, &text).await;
        hear(&mut stream, &text).await;
        say(&mut stream, "MIT;").await;
        if is_cut { is_reset(&mut stream).await } else { hear(&mut stream, "MIT;").await }
    }
    let heard = "0:COMMIT;1:COMMIT;2:COMMIT;3:COMMIT;4:COMMIT;5:COMMIT;";
    echo.hears(heard).await;
    let counts = proxy.counts();
    assert_eq!((counts.sights, counts.triggered), (6, 2));

    proxy.disarm();
    proxy.arm(Trigger::on(b"COMMIT").cutting(Cut::Before));
    let mut stream = connect(&proxy).await;
    say(&mut stream, "COMMIT;").await;
    is_reset(&mut stream).await;
    proxy.disarm();
    proxy.arm(Trigger::on(b"lost").going(Direction::FromServer).cutting(Cut::Before));
    let mut stream = connect(&proxy).await;
    say(&mut stream, "lost").await;
    is_reset(&mut stream).await;
    echo.hears(&format!("{heard}lost")).await;
}

#[tokio::test]
async fn a_reset_by_the_server_reaches_the_client() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("tcp://{}", listener.local_addr().unwrap()).into();
    let proxy = Proxy::present(&url).await;
    let mut client = connect(&proxy).await;
    let (server, _) = listener.accept().await.unwrap();
    server.set_zero_linger().unwrap();
    drop(server);
    is_reset(&mut client).await;
}
