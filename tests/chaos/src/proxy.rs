use std::{
    fmt, io,
    net::SocketAddr,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use secrecy::{ExposeSecret, SecretString};
use tokio::{
    net::{TcpListener, TcpStream},
    sync::watch,
    task::JoinSet,
};
use url::Url;

use crate::{Direction, Faults, Trigger, connection::pass_on, trigger::Armed};

/// A server at another address, where it can be away, slow or mute without being so for anybody else. It stops when dropped.
pub struct Proxy {
    server: Url,
    address: SocketAddr,
    network: Arc<Network>,
    tasks: JoinSet<()>,
}

/// What a proxy has seen.
#[derive(Debug, Clone, Default, PartialEq, Eq, serde::Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Counts {
    /// Connections that were accepted.
    pub connections: usize,
    /// Connections that are open now.
    pub open: usize,
    /// Bytes that were on their way to the server.
    pub bytes_to_server: usize,
    /// Bytes that were on their way to the client.
    pub bytes_from_server: usize,
    /// How often the patterns of all triggers were seen.
    pub sights: usize,
    /// How many connections triggers have reset.
    pub triggered: usize,
}

impl Proxy {
    /// In front of the server of a URL, at an address that nobody else has. Nothing listens until it appears.
    pub async fn absent(server: &SecretString) -> Self {
        Self::absent_at("127.0.0.1:0".parse().expect("an address"), server).await
    }

    /// Like [`Proxy::absent`], and it appears.
    pub async fn present(server: &SecretString) -> Self {
        let mut proxy = Self::absent(server).await;
        proxy.appear().await;
        proxy
    }

    /// Like [`Proxy::absent`], at a given address; port 0 is a free one.
    pub async fn absent_at(address: SocketAddr, server: &SecretString) -> Self {
        let server: Url = server.expose_secret().parse().expect("the URL of a server");
        let listener = TcpListener::bind(address).await.expect("a free port");
        let address = listener.local_addr().expect("an address");
        let upstream = server.host_str().zip(server.port()).expect("a URL that names host and port");
        let network = Arc::new(Network::new((upstream.0.to_owned(), upstream.1)));
        Self { server, address, network, tasks: JoinSet::new() }
    }

    /// Where it listens.
    #[must_use]
    pub fn address(&self) -> SocketAddr {
        self.address
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
        self.tasks.spawn(accept(listener, Arc::clone(&self.network)));
    }

    /// Closes all connections and refuses new ones.
    pub async fn vanish(&mut self) {
        self.tasks.shutdown().await;
    }

    /// Whether it listens.
    #[must_use]
    pub fn is_present(&self) -> bool {
        !self.tasks.is_empty()
    }

    /// What is wrong with the network from now on, on new connections and on those that there are.
    pub fn suffer(&self, faults: Faults) {
        let is_silent = faults.silent;
        self.network.faults.send_replace(faults);
        if is_silent {
            self.network.silences.send_modify(|count| *count += 1);
        }
    }

    /// What is wrong with the network.
    #[must_use]
    pub fn faults(&self) -> Faults {
        self.network.faults.borrow().clone()
    }

    /// Nothing is wrong any more. Connections that fell silent stay silent.
    pub fn recover(&self) {
        self.suffer(Faults::default());
    }

    /// Keeps its connections and accepts new ones, but says nothing on any of them.
    pub fn fall_silent(&self) {
        self.suffer(Faults { silent: true, ..self.faults() });
    }

    /// Talks on connections that are new. The others stay silent.
    pub fn talk_again(&self) {
        self.network.faults.send_modify(|faults| faults.silent = false);
    }

    /// Lets bytes wait, on all connections.
    pub fn hold(&self) {
        self.network.faults.send_modify(|faults| faults.held = true);
    }

    /// Lets the bytes that waited go on.
    pub fn release(&self) {
        self.network.faults.send_modify(|faults| faults.held = false);
    }

    /// Resets all connections. New ones are accepted.
    pub fn reset(&self) {
        self.network.resets.send_modify(|count| *count += 1);
    }

    /// Tells the receivers of what goes this way that no more is coming, on all connections; the other way stays open.
    pub fn half_close(&self, direction: Direction) {
        self.network.half_closes_of(direction).send_modify(|count| *count += 1);
    }

    /// Resets connections on which a pattern is seen, beside what other triggers do.
    pub fn arm(&self, trigger: Trigger) {
        self.network.triggers().push(Armed::new(trigger));
    }

    /// Takes back all triggers.
    pub fn disarm(&self) {
        self.network.triggers().clear();
    }

    /// What it has seen. What triggers saw is counted as long as they are armed.
    #[must_use]
    pub fn counts(&self) -> Counts {
        let triggers = self.network.triggers();
        let sum = |of: fn(&Armed) -> usize| triggers.iter().map(of).sum();
        let (sights, triggered) = (sum(|armed| armed.seen), sum(|armed| armed.fired));
        Counts { sights, triggered, ..self.network.counts().clone() }
    }
}

impl fmt::Debug for Proxy {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Proxy({}, {:?})", self.address, self.faults())
    }
}

/// What all connections of a proxy have in common.
pub(crate) struct Network {
    upstream: (String, u16),
    faults: watch::Sender<Faults>,
    /// Counted, because a connection may look only after the silence is over.
    silences: watch::Sender<u64>,
    resets: watch::Sender<u64>,
    half_closes: [watch::Sender<u64>; 2],
    triggers: Mutex<Vec<Armed>>,
    counts: Mutex<Counts>,
}

impl Network {
    fn new(upstream: (String, u16)) -> Self {
        Self {
            upstream,
            faults: watch::Sender::default(),
            silences: watch::Sender::default(),
            resets: watch::Sender::default(),
            half_closes: [watch::Sender::default(), watch::Sender::default()],
            triggers: Mutex::default(),
            counts: Mutex::default(),
        }
    }

    pub(crate) async fn connect(&self) -> io::Result<TcpStream> {
        TcpStream::connect(&self.upstream).await
    }

    pub(crate) fn faults(&self) -> watch::Receiver<Faults> {
        self.faults.subscribe()
    }

    pub(crate) fn silences(&self) -> watch::Receiver<u64> {
        self.silences.subscribe()
    }

    pub(crate) fn resets(&self) -> watch::Receiver<u64> {
        self.resets.subscribe()
    }

    pub(crate) fn half_closes(&self, direction: Direction) -> watch::Receiver<u64> {
        self.half_closes_of(direction).subscribe()
    }

    fn half_closes_of(&self, direction: Direction) -> &watch::Sender<u64> {
        let [to_server, from_server] = &self.half_closes;
        match direction {
            Direction::ToServer => to_server,
            Direction::FromServer => from_server,
        }
    }

    pub(crate) fn triggers(&self) -> MutexGuard<'_, Vec<Armed>> {
        self.triggers.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn counts(&self) -> MutexGuard<'_, Counts> {
        self.counts.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(crate) fn passed(&self, direction: Direction, bytes: usize) {
        let mut counts = self.counts();
        match direction {
            Direction::ToServer => counts.bytes_to_server += bytes,
            Direction::FromServer => counts.bytes_from_server += bytes,
        }
    }

    /// Counts a connection as open until what is returned is dropped.
    pub(crate) fn connected(self: &Arc<Self>) -> Connected {
        let mut counts = self.counts();
        counts.connections += 1;
        counts.open += 1;
        Connected(Arc::clone(self))
    }
}

pub(crate) struct Connected(Arc<Network>);

impl Drop for Connected {
    fn drop(&mut self) {
        self.0.counts().open -= 1;
    }
}

async fn accept(listener: TcpListener, network: Arc<Network>) {
    let mut connections = JoinSet::new();
    while let Ok((client, _)) = listener.accept().await {
        connections.spawn(pass_on(client, Arc::clone(&network)));
        while connections.try_join_next().is_some() {}
    }
}
