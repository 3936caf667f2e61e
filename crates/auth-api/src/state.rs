//! What every request can use.

use std::sync::Arc;

use auth_events::{Envelope, Fact, FactDetail};
use auth_ids::UserId;
use clock::SharedClock;
use hmac::{Hmac, KeyInit, Mac};
use outbox::Wake;
use pg::Database;
use rate_limit::RateLimiter;
use sealing::{KeyRing, MailboxPublicKey};
use session_verifier::Verifier;
use sha2::Sha256;
use tokio::sync::Notify;
use turns::Turns;

use crate::{
    app::{known_accounts::KnownAccounts, rest::Rest},
    clients::{audit::AuditLog, captcha::Captcha, sessions::Sessions},
    config::PublicAddresses,
    domain::email_address::EmailAddress,
    metrics::Metrics,
    password::{PasswordPolicy, PasswordVault},
};

/// The name by which auth-api signs its messages.
pub const SOURCE: &str = "auth-api";

/// The state of one worker; everything in it is shared but the session client.
#[derive(Clone)]
pub struct AppState {
    /// The schema `auth`.
    pub database: Database,
    /// session-service; one connection a worker, because one shared by all of them is a bottleneck.
    pub sessions: Sessions,
    /// Judges access tokens without asking anybody, as long as it hears of revocations; one for the process.
    pub verifier: Verifier,
    /// Whether the verifier could ask session-service just now.
    pub session_service_rest: Arc<Rest>,
    /// Accounts that were read a moment ago; the same ones for all workers.
    pub accounts: KnownAccounts,
    /// audit-service.
    pub audit: AuditLog,
    /// Password hashing.
    pub vault: PasswordVault,
    /// Which passwords may be chosen.
    pub passwords: PasswordPolicy,
    /// Proof of personhood.
    pub captcha: Captcha,
    /// Limits requests.
    pub limiter: RateLimiter,
    /// The time.
    pub clock: SharedClock,
    /// Wakes the outbox relay after a commit.
    pub outbox: Wake,
    /// Wakes whoever does deferred requests.
    pub deferred: Arc<Notify>,
    /// By scope and key of what is attempted.
    pub attempt_turns: Arc<Turns<(&'static str, Vec<u8>)>>,
    /// Seals what only auth-api reads again: secrets of authenticator apps, deferred requests, answers to repeat, copies of users' data.
    pub data_keys: KeyRing,
    /// Whether anybody may register.
    pub registration_open: bool,
    /// Seals mail parameters.
    pub mailer_key: MailboxPublicKey,
    /// Turns addresses into keys that say nothing.
    pub identifier_key: IdentifierKey,
    /// What is counted.
    pub metrics: Metrics,
    /// Where frontend, API and documentation are.
    pub addresses: PublicAddresses,
}

impl AppState {
    /// The envelope of a fact about `subject`.
    pub fn fact<D: FactDetail>(&self, subject: Option<UserId>, fact: Fact<D>) -> Envelope<Fact<D>> {
        Envelope::fact(SOURCE, subject, fact, &*self.clock, &mut clock::secure_rng())
    }
}

/// The key under which addresses are hashed, so that logs and counters can tell them apart and nobody can read them.
#[derive(Clone)]
pub struct IdentifierKey(Hmac<Sha256>);

impl IdentifierKey {
    /// Bytes of a key.
    pub const BYTES: usize = 32;

    /// The key `bytes`; `None` when they are not [`IdentifierKey::BYTES`].
    #[must_use]
    pub fn new(bytes: &[u8]) -> Option<Self> {
        let keyed = Hmac::new_from_slice(bytes).ok()?;
        (bytes.len() == Self::BYTES).then_some(Self(keyed))
    }

    /// HMAC-SHA-256 of the canonical address, in hexadecimal, cut to 128 bits.
    #[must_use]
    pub fn hash(&self, email: &EmailAddress) -> String {
        let mac = self.mac("identifier", email.as_str().as_bytes());
        hex::encode(mac.iter().take(16).copied().collect::<Vec<u8>>())
    }

    /// HMAC-SHA-256 of `data` for one purpose; the same data has an unrelated value for any other one.
    #[must_use]
    pub fn mac(&self, purpose: &str, data: &[u8]) -> [u8; 32] {
        let mut mac = self.0.clone();
        mac.update(purpose.as_bytes());
        mac.update(&[0]);
        mac.update(data);
        mac.finalize().into_bytes().into()
    }
}
