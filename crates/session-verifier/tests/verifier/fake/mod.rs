//! A session-service that does what a test tells it, and the tokens that it would mint.

mod rpc;
mod tokens;

use std::{
    net::SocketAddr,
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicUsize, Ordering},
    },
    time::Duration,
};

use access_tokens::{AccessClaims, RevocationTarget};
use auth_ids::GenericUuid;
use auth_proto::session::v1::{
    GetPublicKeysResponse, InactiveReason, Revocation, RevocationBatch, Sighting, UserEpoch, ValidateRequest,
    ValidateResponse, revocation::Target, session_service_server::SessionServiceServer,
    watch_revocations_response::Event,
};
use chrono::{DateTime, TimeDelta, Utc};
use clock::{Clock, SystemClock};
use parking_lot::Mutex;
use session_verifier::{Verifier, VerifierConfig, VerifyError};
use tokio::{
    net::TcpListener,
    sync::{broadcast, watch},
    task::JoinSet,
};
use tokio_stream::wrappers::TcpListenerStream;
use tonic::transport::Server;

pub use self::tokens::{Key, claims};

pub const ISSUER: &str = "https://auth.example";
pub const AUDIENCE: &str = "api";
/// Longer than anything here takes, shorter than anybody's patience.
pub const SOON: Duration = Duration::from_secs(10);

/// What the service does; everything may change while it runs.
pub struct State {
    pub keys: Mutex<Vec<Key>>,
    /// The parts of the snapshot, without the mark on the last.
    pub snapshot: Mutex<Vec<Vec<Revocation>>>,
    /// Whether the last part is sent at all.
    pub completes: AtomicBool,
    pub has_heartbeats: AtomicBool,
    /// How far back revocations are told.
    pub covers: Mutex<TimeDelta>,
    pub news: broadcast::Sender<Event>,
    /// Streams of an earlier generation end.
    pub generation: watch::Sender<u64>,
    pub streams: AtomicUsize,
    pub opened: AtomicUsize,
    pub answer: Mutex<Answer>,
    pub asked: Mutex<Vec<ValidateRequest>>,
    pub touched: Mutex<Vec<Vec<Sighting>>>,
    pub touches_to_refuse: AtomicUsize,
}

/// What `Validate` answers.
#[derive(Debug, Clone)]
pub enum Answer {
    Active(Box<AccessClaims>),
    Inactive(InactiveReason),
    /// The first so many questions get UNAVAILABLE, the others the answer.
    After(usize, Box<Answer>),
    /// Never.
    Silence,
}

pub struct Fake {
    pub state: Arc<State>,
    pub address: SocketAddr,
    _server: JoinSet<()>,
}

impl Fake {
    /// A service with one key, without revocations.
    pub async fn start() -> Self {
        let state = Arc::new(State {
            keys: Mutex::new(vec![Key::new()]),
            snapshot: Mutex::new(vec![Vec::new()]),
            completes: AtomicBool::new(true),
            has_heartbeats: AtomicBool::new(true),
            covers: Mutex::new(TimeDelta::minutes(6)),
            news: broadcast::Sender::new(64),
            generation: watch::Sender::new(0),
            streams: AtomicUsize::new(0),
            opened: AtomicUsize::new(0),
            answer: Mutex::new(Answer::Inactive(InactiveReason::Invalid)),
            asked: Mutex::default(),
            touched: Mutex::default(),
            touches_to_refuse: AtomicUsize::new(0),
        });
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let service = SessionServiceServer::new(rpc::Rpc(Arc::clone(&state)));
        let mut server = JoinSet::new();
        server.spawn(async move {
            let incoming = TcpListenerStream::new(listener);
            Server::builder().add_service(service).serve_with_incoming(incoming).await.unwrap();
        });
        Self { state, address, _server: server }
    }

    pub fn url(&self) -> String {
        format!("http://{}", self.address)
    }

    pub fn config(&self) -> VerifierConfig {
        config(&self.url())
    }

    /// A verifier that hears this service.
    pub async fn verifier(&self) -> Verifier {
        let verifier = Verifier::connect(self.config()).await.unwrap();
        assert!(verifier.is_current());
        verifier
    }

    /// A token of the first key.
    pub fn mint(&self, claims: &AccessClaims) -> String {
        self.state.keys.lock()[0].mint(claims)
    }

    pub fn tell(&self, event: Event) {
        self.state.news.send(event).unwrap();
    }

    pub fn revoke(&self, target: RevocationTarget) {
        self.tell(Event::Revoked(RevocationBatch { revocations: vec![revocation(target)] }));
    }

    /// Trusts these keys from now on, and says so.
    pub fn rotate(&self, keys: Vec<Key>) {
        let message = GetPublicKeysResponse { keys: keys.iter().map(Key::message).collect() };
        *self.state.keys.lock() = keys;
        self.tell(Event::Keys(message));
    }

    pub fn end_streams(&self) {
        self.state.generation.send_modify(|generation| *generation += 1);
    }

    /// Every token is good and says this.
    pub fn answer_active(&self, claims: &AccessClaims) {
        self.answer(active(claims));
    }

    pub fn answer(&self, answer: Answer) {
        *self.state.answer.lock() = answer;
    }

    pub fn asked(&self) -> usize {
        self.state.asked.lock().len()
    }

    pub fn opened(&self) -> usize {
        self.state.opened.load(Ordering::SeqCst)
    }

    pub fn streams(&self) -> usize {
        self.state.streams.load(Ordering::SeqCst)
    }
}

pub fn config(addresses: &str) -> VerifierConfig {
    let mut config = VerifierConfig::new(addresses, ISSUER, AUDIENCE);
    "development".clone_into(&mut config.environment);
    config
}

pub fn now() -> DateTime<Utc> {
    SystemClock.now()
}

/// As session-service tells it.
pub fn revocation(target: RevocationTarget) -> Revocation {
    let target = match target {
        RevocationTarget::Session(id) => Target::SessionId(id.into_untyped_uuid().as_bytes().to_vec()),
        RevocationTarget::UserBefore(id, epoch) => {
            Target::UserEpoch(UserEpoch { user_id: id.into_untyped_uuid().as_bytes().to_vec(), epoch })
        }
    };
    Revocation {
        target: Some(target),
        revoked_at: Some(tokens::timestamp(now())),
        forget_at: Some(tokens::timestamp(now() + TimeDelta::minutes(16))),
    }
}

/// Waits until `verify` says so.
pub async fn verdict(verifier: &Verifier, token: &str, expected: Option<VerifyError>) {
    let what = format!("the verdict {expected:?}");
    test_support::eventually(&what, SOON, async || (verifier.verify(token).err() == expected).then_some(()))
        .await;
}

pub fn active(claims: &AccessClaims) -> Answer {
    Answer::Active(Box::new(claims.clone()))
}

fn inactive(reason: InactiveReason) -> ValidateResponse {
    ValidateResponse { active: false, claims: None, reason: reason.into() }
}
