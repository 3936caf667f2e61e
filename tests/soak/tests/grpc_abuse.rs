//! A service with a certificate that abuses HTTP/2 hinders no other one.
#![expect(clippy::unwrap_used, reason = "a test may panic")]

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use auth_proto::session::v1::ValidateRequest;
use bytes::Bytes;
use e2e::{
    Stack,
    grpc::{As, sessions},
};
use h2::{Reason, client::SendRequest};
use http::Request;
use rustls::{
    ClientConfig, RootCertStore,
    pki_types::{CertificateDer, PrivateKeyDer, ServerName, pem::PemObject},
};
use soak::{load::Load, memory::peak_resident_mib};
use tokio::{
    io::AsyncWriteExt,
    net::TcpStream,
    task::JoinSet,
    time::{sleep, timeout},
};
use tokio_rustls::{TlsConnector, client::TlsStream};

const ATTACKERS: usize = 4;
const ATTACK: Duration = Duration::from_secs(10);
/// What one attacker does at once; then the machine, which it shares with what it attacks, gets a breath.
const BURST: usize = 100;
const BREATH: Duration = Duration::from_millis(20);

/// What attackers know: an address, and a certificate that the service trusts.
#[derive(Clone)]
struct Way {
    address: String,
    connector: TlsConnector,
}

impl Way {
    fn to(stack: &Stack) -> Self {
        let read = |name: &str| std::fs::read(stack.variable(name)).unwrap();
        let mut roots = RootCertStore::empty();
        roots.add(CertificateDer::from_pem_slice(&read("TLS_CA")).unwrap()).unwrap();
        let chain = vec![CertificateDer::from_pem_slice(&read("TLS_CLIENT_CERT")).unwrap()];
        let key = PrivateKeyDer::from_pem_slice(&read("TLS_CLIENT_KEY")).unwrap();
        let config = ClientConfig::builder().with_root_certificates(roots);
        let mut config = config.with_client_auth_cert(chain, key).unwrap();
        config.alpn_protocols = vec![b"h2".to_vec()];
        Self { address: stack.variable("SESSION_GRPC"), connector: TlsConnector::from(Arc::new(config)) }
    }

    async fn tls(&self) -> std::io::Result<TlsStream<TcpStream>> {
        let stream = TcpStream::connect(&self.address).await?;
        self.connector.connect(ServerName::try_from("localhost").unwrap(), stream).await
    }

    fn request(&self) -> Request<()> {
        let uri = format!("https://{}/feature_auth.session.v1.SessionService/Validate", self.address);
        let request = Request::post(uri).header("content-type", "application/grpc").header("te", "trailers");
        request.body(()).unwrap()
    }
}

/// The ways to abuse a connection, each until the server ends it.
#[derive(Debug, Clone, Copy)]
enum Abuse {
    /// Begins calls and takes each back at once.
    RapidReset,
    /// Begins a call and says nothing in as many frames as possible.
    EmptyData,
    /// Begins calls and never ends them, thousands on one connection.
    ManyStreams,
    /// Begins the head of a call and never ends it.
    Continuation,
}

impl Abuse {
    async fn once(self, way: &Way) -> Result<(), Box<dyn std::error::Error + Send + Sync>> {
        if matches!(self, Self::Continuation) {
            return continuation(way).await.map_err(Into::into);
        }
        let (mut client, connection) = h2::client::handshake(way.tls().await?).await?;
        let abuse = async {
            match self {
                Self::RapidReset => rapid_reset(way, &mut client).await,
                Self::EmptyData => empty_data(way, &mut client).await,
                Self::ManyStreams | Self::Continuation => many_streams(way, &mut client).await,
            }
        };
        tokio::select! {
            ended = connection => ended?,
            ended = abuse => ended?,
        }
        Ok(())
    }
}

async fn rapid_reset(way: &Way, client: &mut SendRequest<Bytes>) -> Result<(), h2::Error> {
    loop {
        for _ in 0..BURST {
            *client = client.clone().ready().await?;
            let (_answer, mut stream) = client.send_request(way.request(), false)?;
            stream.send_reset(Reason::CANCEL);
        }
        sleep(BREATH).await;
    }
}

async fn empty_data(way: &Way, client: &mut SendRequest<Bytes>) -> Result<(), h2::Error> {
    *client = client.clone().ready().await?;
    let (_answer, mut stream) = client.send_request(way.request(), false)?;
    loop {
        for _ in 0..BURST {
            stream.send_data(Bytes::new(), false)?;
        }
        sleep(BREATH).await;
    }
}

async fn many_streams(way: &Way, client: &mut SendRequest<Bytes>) -> Result<(), h2::Error> {
    let mut kept = Vec::new();
    loop {
        for _ in 0..BURST {
            // What is above the server's limit waits in this client.
            let Ok(ready) = timeout(BREATH, client.clone().ready()).await else { break };
            *client = ready?;
            kept.push(client.send_request(way.request(), false)?);
        }
        sleep(BREATH).await;
    }
}

/// HEADERS without their end, and CONTINUATION frames that end them no more; one header, again and again.
async fn continuation(way: &Way) -> std::io::Result<()> {
    const HEADERS: u8 = 1;
    const CONTINUATION: u8 = 9;
    let header = [&[0x00, 1][..], b"x", &[16], b"0123456789abcdef"].concat();
    let fragment = header.repeat(50);
    let mut stream = way.tls().await?;
    stream.write_all(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n").await?;
    stream.write_all(&[0, 0, 0, 4, 0, 0, 0, 0, 0]).await?;
    stream.write_all(&frame(HEADERS, &fragment)).await?;
    loop {
        for _ in 0..BURST {
            stream.write_all(&frame(CONTINUATION, &fragment)).await?;
        }
        stream.flush().await?;
        sleep(BREATH).await;
    }
}

/// A frame of the first stream, without flags.
fn frame(kind: u8, payload: &[u8]) -> Vec<u8> {
    let length = u32::try_from(payload.len()).unwrap().to_be_bytes();
    [&length[1..], &[kind, 0, 0, 0, 0, 1], payload].concat()
}

/// Asks whether a token is good, fifty times a second, as another service.
async fn validations(stack: &Stack) -> Load {
    let client = sessions(stack, As::AuthApi);
    Load::open_loop(50, ATTACK, move || {
        let mut client = client.clone();
        async move {
            let request =
                ValidateRequest { access_token: "no token".to_owned(), ..ValidateRequest::default() };
            client.validate(request).await.is_ok().then_some(200)
        }
    })
    .await
}

#[tokio::test(flavor = "multi_thread")]
async fn grp_05_abuse_of_connections_and_streams_hinders_nobody_else() {
    let stack = Stack::start(&[]).await;
    let (way, pid) = (Way::to(&stack), stack.variable("SESSION_SERVICE_PID"));
    // Whoever asks first waits for the connection.
    validations(&stack).await;
    let idle = validations(&stack).await;
    let before = peak_resident_mib(&pid);
    for abuse in [Abuse::RapidReset, Abuse::EmptyData, Abuse::ManyStreams, Abuse::Continuation] {
        let mut attackers = JoinSet::new();
        for _ in 0..ATTACKERS {
            let way = way.clone();
            attackers.spawn(async move {
                let began = Instant::now();
                let mut connections = 0_u32;
                while began.elapsed() < ATTACK {
                    let once = timeout(ATTACK.saturating_sub(began.elapsed()), abuse.once(&way));
                    connections += u32::from(once.await.is_ok());
                    sleep(BREATH).await;
                }
                connections
            });
        }
        let busy = validations(&stack).await;
        let ended: u32 = attackers.join_all().await.into_iter().sum();
        let peak = peak_resident_mib(&pid);
        println!(
            "{abuse:?}: {ended} connections were ended; idle: {idle}; busy: {busy}; {before} MiB became {peak} MiB"
        );
        assert_eq!(busy.count_of(Some(200)), busy.count(), "{abuse:?}: {busy}");
        let limit = (idle.percentile(95) * 2).max(Duration::from_millis(20));
        assert!(busy.percentile(95) <= limit, "{abuse:?}: {busy}");
        assert!(peak <= before + 64, "{abuse:?}: {before} MiB became {peak} MiB");
        assert_eq!(stack.variable("SESSION_SERVICE_PID"), pid, "{abuse:?}: it is still the same process");
    }
}
