//! The replicas of a service, and which of them takes the next call.

use std::{
    collections::BTreeMap,
    fmt,
    net::SocketAddr,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
};

use tokio::{
    sync::{Notify, watch},
    task::JoinSet,
};

use crate::{client_connection::ClientConnection, origin::Origin, resolution};

/// The replicas that a service's addresses lead to, each with one connection. What keeps them connected ends with the last clone.
#[derive(Clone)]
pub(crate) struct Replicas(Arc<Shared>);

struct Shared {
    known: Arc<watch::Sender<Known>>,
    turn: AtomicUsize,
    /// Ended by being dropped; nothing that a shutdown would have to wait for runs in them.
    _tasks: JoinSet<()>,
}

/// What is known of the replicas behind all addresses.
#[derive(Default)]
pub(crate) struct Known {
    /// By the address in the list and the one that it resolved to.
    replicas: BTreeMap<Key, Replica>,
    /// Whether each address resolves, and why not. `None` until that is known.
    resolutions: Vec<Option<Result<(), String>>>,
}

type Key = (usize, SocketAddr);

struct Replica {
    connection: Option<ClientConnection>,
    failures: u64,
    problem: Option<String>,
    wanted: Arc<Notify>,
}

/// Where the keepers of one address's replicas write what they know.
#[derive(Clone)]
pub(crate) struct Board {
    origin: usize,
    known: Arc<watch::Sender<Known>>,
}

impl Replicas {
    /// Begins to resolve and to connect. Must be called inside a tokio runtime.
    pub fn of(origins: Vec<Origin>) -> Self {
        let known = Known { resolutions: vec![None; origins.len()], ..Known::default() };
        let known = Arc::new(watch::Sender::new(known));
        let mut tasks = JoinSet::new();
        for (index, origin) in origins.into_iter().enumerate() {
            let board = Board { origin: index, known: Arc::clone(&known) };
            tasks.spawn(resolution::follow(Arc::new(origin), board));
        }
        Self(Arc::new(Shared { known, turn: AtomicUsize::new(0), _tasks: tasks }))
    }

    /// The next open connection that is none of `tried`; a silent one only when the others are so too.
    pub fn pick(&self, tried: &[ClientConnection]) -> Option<ClientConnection> {
        let known = self.0.known.borrow();
        let (silent, speaking): (Vec<_>, Vec<_>) = known
            .connections()
            .filter(|connection| connection.is_open() && !is_among(connection, tried))
            .partition(|connection| connection.is_silent());
        let candidates = if speaking.is_empty() { silent } else { speaking };
        let turn = self.0.turn.fetch_add(1, Ordering::Relaxed).checked_rem(candidates.len())?;
        candidates.get(turn).copied().cloned()
    }

    /// Like [`Replicas::pick`], and when there is none, waits until there is, or until it has been tried in vain to connect to every
    /// replica: then it says why.
    pub async fn connection(&self, tried: &[ClientConnection]) -> Result<ClientConnection, String> {
        if let Some(connection) = self.pick(tried) {
            return Ok(connection);
        }
        let mut changes = self.0.known.subscribe();
        let before = changes.borrow().want_connections();
        loop {
            let in_vain = changes.borrow_and_update().in_vain(&before, tried);
            if let Some(connection) = self.pick(tried) {
                return Ok(connection);
            }
            if let Some(why) = in_vain {
                return Err(why);
            }
            if changes.changed().await.is_err() {
                return Err("the channel was closed".to_owned());
            }
        }
    }

    /// Gives no more calls to a connection that failed one; its replica is connected to anew.
    pub fn give_up(&self, connection: &ClientConnection) {
        self.0.known.send_if_modified(|known| {
            let same = known
                .replicas
                .values_mut()
                .find(|replica| replica.connection.as_ref().is_some_and(|current| current.is(connection)));
            same.is_some_and(|replica| replica.connection.take().is_some())
        });
    }

    /// Why there is no connection, as far as it is known.
    pub fn problem(&self) -> String {
        self.0.known.borrow().problem()
    }
}

impl fmt::Debug for Replicas {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_set().entries(self.0.known.borrow().replicas.keys().map(|(_, address)| address)).finish()
    }
}

impl Known {
    fn connections(&self) -> impl Iterator<Item = &ClientConnection> {
        self.replicas.values().filter_map(|replica| replica.connection.as_ref())
    }

    /// Asks the replicas that rest to be connected to; returns how often that had failed until now.
    fn want_connections(&self) -> BTreeMap<Key, u64> {
        let unconnected = self.replicas.values().filter(|replica| replica.connection.is_none());
        unconnected.for_each(|replica| replica.wanted.notify_one());
        self.replicas.iter().map(|(key, replica)| (*key, replica.failures)).collect()
    }

    /// Why no connection can come, when every replica failed once more than `before` or was `tried`.
    fn in_vain(&self, before: &BTreeMap<Key, u64>, tried: &[ClientConnection]) -> Option<String> {
        let resolving = self.resolutions.contains(&None);
        let all_failed = self.replicas.iter().all(|(key, replica)| match &replica.connection {
            Some(connection) => is_among(connection, tried),
            None => replica.failures > before.get(key).copied().unwrap_or_default(),
        });
        (!resolving && all_failed).then(|| self.problem())
    }

    fn problem(&self) -> String {
        let unresolved = self.resolutions.iter().flatten().filter_map(|resolution| resolution.clone().err());
        let unconnected = self.replicas.values().filter_map(|replica| replica.problem.clone());
        let problems: Vec<String> = unresolved.chain(unconnected).collect();
        if problems.is_empty() { "no replica is connected".to_owned() } else { problems.join("; ") }
    }
}

impl Board {
    /// The address has these replicas now. Returns what each new one's keeper listens to.
    pub fn resolved(&self, addresses: &[SocketAddr]) -> Vec<(SocketAddr, Arc<Notify>)> {
        let mut new = Vec::new();
        self.known.send_if_modified(|known| {
            let before = known.replicas.len();
            known
                .replicas
                .retain(|(origin, address), _| *origin != self.origin || addresses.contains(address));
            let mut changed = before != known.replicas.len();
            for address in addresses {
                known.replicas.entry((self.origin, *address)).or_insert_with(|| {
                    changed = true;
                    let wanted = Arc::new(Notify::new());
                    new.push((*address, Arc::clone(&wanted)));
                    Replica { connection: None, failures: 0, problem: None, wanted }
                });
            }
            changed | self.note(known, Ok(()))
        });
        new
    }

    /// The address does not resolve; the replicas stay. Returns whether that is new.
    pub fn unresolved(&self, why: String) -> bool {
        self.known.send_if_modified(|known| self.note(known, Err(why)))
    }

    pub fn connected(&self, address: SocketAddr, connection: ClientConnection) {
        self.change(address, |replica| {
            replica.connection = Some(connection);
            replica.problem = None;
        });
    }

    pub fn disconnected(&self, address: SocketAddr) {
        self.change(address, |replica| replica.connection = None);
    }

    /// Returns whether it is the first failure in a row.
    pub fn failed(&self, address: SocketAddr, error: &anyhow::Error) -> bool {
        let mut is_first = false;
        self.change(address, |replica| {
            replica.failures += 1;
            is_first = replica.problem.replace(format!("{address}: {error:#}")).is_none();
        });
        is_first
    }

    fn change(&self, address: SocketAddr, change: impl FnOnce(&mut Replica)) {
        self.known
            .send_if_modified(|known| known.replicas.get_mut(&(self.origin, address)).map(change).is_some());
    }

    fn note(&self, known: &mut Known, outcome: Result<(), String>) -> bool {
        known.resolutions.get_mut(self.origin).is_some_and(|resolution| {
            let outcome = Some(outcome);
            let changed = *resolution != outcome;
            *resolution = outcome;
            changed
        })
    }
}

fn is_among(connection: &ClientConnection, tried: &[ClientConnection]) -> bool {
    tried.iter().any(|other| other.is(connection))
}
