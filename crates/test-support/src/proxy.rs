use std::{future::pending, io, net::SocketAddr};

use secrecy::{ExposeSecret, SecretString};
use tokio::{
    io::copy_bidirectional,
    net::{TcpListener, TcpStream},
    sync::watch,
    task::JoinSet,
};
use url::Url;

/// A server of the tests at another address, where it can be away without being away from the other tests. It stops when dropped.
pub struct Proxy {
    server: Url,
    address: SocketAddr,
    silent: watch::Sender<bool>,
    tasks: JoinSet<()>,
}

impl Proxy {
    /// In front of the server of a URL, at an address that nobody else has. Nothing listens until it appears.
    pub async fn absent(server: &SecretString) -> Self {
        let server: Url = server.expose_secret().parse().expect("the URL of a server");
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
        let address = listener.local_addr().expect("an address");
        Self { server, address, silent: watch::Sender::new(false), tasks: JoinSet::new() }
    }

    /// Like [`Proxy::absent`], and it appears.
    pub async fn present(server: &SecretString) -> Self {
        let mut proxy = Self::absent(server).await;
        proxy.appear().await;
        proxy
    }

    /// The server's URL with the proxy's address.
    #[must_use]
    pub fn url(&self) -> SecretString {
        let mut url = self.server.clone();
        url.set_ip_host(self.address.ip()).expect("a URL that names a host");
        url.set_port(Some(self.address.port())).expect("a URL that names a host");
        url.to_string().into()
    }

    /// Listens.
    pub async fn appear(&mut self) {
        let listener = TcpListener::bind(self.address).await.expect("the port is still free");
        self.tasks.spawn(accept(listener, self.upstream(), self.silent.clone()));
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

    fn upstream(&self) -> (String, u16) {
        let address = self.server.host_str().zip(self.server.port());
        let (host, port) = address.expect("a URL that names host and port");
        (host.to_owned(), port)
    }
}

async fn accept(listener: TcpListener, upstream: (String, u16), silent: watch::Sender<bool>) {
    let mut connections = JoinSet::new();
    while let Ok((client, _)) = listener.accept().await {
        connections.spawn(pass_on(client, upstream.clone(), silent.subscribe()));
    }
}

async fn pass_on(
    mut client: TcpStream,
    upstream: (String, u16),
    mut silent: watch::Receiver<bool>,
) -> io::Result<()> {
    let mut server = TcpStream::connect(upstream).await?;
    tokio::select! {
        biased;
        _ = silent.wait_for(|silent| *silent) => {}
        ended = copy_bidirectional(&mut client, &mut server) => return ended.map(drop),
    }
    pending().await
}
