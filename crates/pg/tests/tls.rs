//! `sslmode` against a server that speaks TLS: the real one behind a proxy that ends it.
#![expect(clippy::unwrap_used, reason = "a test may panic")]

use std::{io::Write, sync::Arc, time::Duration};

use pg::{Database, DatabaseSettings, Error};
use secrecy::{ExposeSecret, SecretString};
use tempfile::NamedTempFile;
use test_support::TestDatabase;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt, copy_bidirectional},
    net::{TcpListener, TcpStream},
    task::JoinSet,
};
use tokio_postgres::config::{Config, Host};
use tokio_rustls::{TlsAcceptor, rustls};

/// A self-signed certificate for `localhost`, and its PEM in a file.
struct Certificate {
    signed: rcgen::CertifiedKey<rcgen::KeyPair>,
    file: NamedTempFile,
}

impl Certificate {
    fn new() -> Self {
        let signed = rcgen::generate_simple_self_signed(vec!["localhost".to_owned()]).unwrap();
        let mut file = NamedTempFile::new().unwrap();
        file.write_all(signed.cert.pem().as_bytes()).unwrap();
        Self { signed, file }
    }

    fn acceptor(&self) -> TlsAcceptor {
        let key = rustls::pki_types::PrivatePkcs8KeyDer::from(self.signed.signing_key.serialize_der());
        let config =
            rustls::ServerConfig::builder_with_provider(Arc::new(rustls::crypto::ring::default_provider()))
                .with_safe_default_protocol_versions()
                .unwrap()
                .with_no_client_auth()
                .with_single_cert(vec![self.signed.cert.der().clone()], key.into())
                .unwrap();
        TlsAcceptor::from(Arc::new(config))
    }
}

/// Answers PostgreSQL's request for TLS with yes and passes on what is inside.
async fn serve_tls(listener: TcpListener, acceptor: TlsAcceptor, server: (String, u16)) {
    let mut connections = JoinSet::new();
    while let Ok((mut client, _)) = listener.accept().await {
        let (acceptor, server) = (acceptor.clone(), server.clone());
        connections.spawn(async move {
            let mut request = [0; 8];
            client.read_exact(&mut request).await?;
            client.write_all(b"S").await?;
            let mut client = acceptor.accept(client).await?;
            let mut server = TcpStream::connect(server).await?;
            copy_bidirectional(&mut client, &mut server).await
        });
    }
}

async fn ping(url: String) -> Result<(), Error> {
    let settings = DatabaseSettings {
        acquire_timeout: Duration::from_secs(10),
        ..DatabaseSettings::new(SecretString::from(url), "test")
    };
    Database::new(&settings).unwrap().ping().await
}

#[tokio::test]
async fn a_certificate_is_checked_and_nothing_falls_back_to_plain() {
    let database = TestDatabase::empty().await;
    let plain: Config = database.admin_url().expose_secret().parse().unwrap();
    let [Host::Tcp(host)] = plain.get_hosts() else { panic!("TEST_POSTGRES_URL names no host") };
    let server = (host.clone(), *plain.get_ports().first().unwrap());
    let login = format!(
        "{}:{}",
        plain.get_user().unwrap(),
        String::from_utf8_lossy(plain.get_password().unwrap_or_default())
    );

    let (right, wrong) = (Certificate::new(), Certificate::new());
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    let mut proxy = JoinSet::new();
    proxy.spawn(serve_tls(listener, right.acceptor(), server.clone()));

    let name = plain.get_dbname().unwrap();
    let url = |host: &str, port: u16, mode: &str, root: &Certificate| {
        let root = root.file.path().display();
        format!("postgres://{login}@{host}:{port}/{name}?sslmode={mode}&sslrootcert={root}")
    };
    for mode in ["require", "verify-ca", "verify-full"] {
        ping(url("localhost", port, mode, &right)).await.unwrap();
        for refused in [
            url("localhost", port, mode, &wrong),
            url("127.0.0.1", port, mode, &right),
            url(&server.0, server.1, mode, &right),
        ] {
            let error = ping(refused).await.unwrap_err();
            assert!(matches!(error, Error::Unavailable(_)), "{error:?}");
        }
    }
}
