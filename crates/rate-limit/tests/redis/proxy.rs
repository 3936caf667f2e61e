use std::{future::pending, io, net::SocketAddr};

use secrecy::{ExposeSecret, SecretString};
use tokio::{
    io::copy_bidirectional,
    net::{TcpListener, TcpStream},
    sync::watch,
    task::JoinSet,
};
use url::Url;

/// The Redis of the tests at another address, where it can be away without being away from the other tests.
pub struct Proxy {
    address: SocketAddr,
    silent: watch::Sender<bool>,
    tasks: JoinSet<()>,
}

impl Proxy {
    /// At an address that nobody else has. Nothing listens until it appears.
    pub async fn absent() -> Self {
        let address = TcpListener::bind("127.0.0.1:0").await.and_then(|it| it.local_addr()).unwrap();
        Self { address, silent: watch::Sender::new(false), tasks: JoinSet::new() }
    }

    pub async fn present() -> Self {
        let mut proxy = Self::absent().await;
        proxy.appear().await;
        proxy
    }

    pub fn url(&self) -> SecretString {
        let mut url = redis_url();
        url.set_ip_host(self.address.ip()).unwrap();
        url.set_port(Some(self.address.port())).unwrap();
        url.to_string().into()
    }

    pub async fn appear(&mut self) {
        let listener = TcpListener::bind(self.address).await.unwrap();
        self.tasks.spawn(accept(listener, self.silent.clone()));
    }

    /// Closes all connections and refuses new ones.
    pub async fn vanish(&mut self) {
        self.tasks.shutdown().await;
    }

    /// Keeps its connections and accepts new ones, but says nothing on any of them.
    pub fn fall_silent(&self) {
        self.silent.send_replace(true);
    }

    /// Talks on connections that are new. The others stay silent.
    pub fn talk_again(&self) {
        self.silent.send_replace(false);
    }
}

fn redis_url() -> Url {
    test_support::redis_url().expose_secret().parse().unwrap()
}

async fn accept(listener: TcpListener, silent: watch::Sender<bool>) {
    let mut connections = JoinSet::new();
    while let Ok((client, _)) = listener.accept().await {
        connections.spawn(pass_on(client, silent.subscribe()));
    }
}

async fn pass_on(mut client: TcpStream, mut silent: watch::Receiver<bool>) -> io::Result<()> {
    let url = redis_url();
    let mut redis = TcpStream::connect((url.host_str().unwrap(), url.port().unwrap_or(6379))).await?;
    tokio::select! {
        biased;
        _ = silent.wait_for(|silent| *silent) => {}
        ended = copy_bidirectional(&mut client, &mut redis) => return ended.map(drop),
    }
    pending().await
}
