//! A fake of Cloudflare Turnstile's `siteverify`, for machines without the Internet and for tests.
//!
//! The documented test secrets behave as at Cloudflare, whatever the token:
//!
//! | secret | answer |
//! |---|---|
//! | [`ALWAYS_PASSES`] | success |
//! | [`ALWAYS_FAILS`] | `invalid-input-response` |
//! | [`TOKEN_ALREADY_SPENT`] | `timeout-or-duplicate` |
//!
//! Any other secret that starts with `0x`, as real ones do, behaves like a real one: each token passes once and is then answered
//! `timeout-or-duplicate`, except to a repetition with the same `idempotency_key`, which gets the first answer again; Cloudflare's
//! dummy token is refused. A token of the form `action@hostname:anything` decides the answer's `action` and `hostname`, which are otherwise
//! empty and `localhost`; the test secrets say `example.com` and no action whatever the token, as Cloudflare does.
//! All other secrets are `invalid-input-secret`.

mod siteverify;

use std::{net::SocketAddr, sync::Arc};

use anyhow::Context;
use siteverify::Verifier;
use tokio::net::TcpListener;
use tokio_util::{sync::CancellationToken, task::TaskTracker};
use url::Url;

/// Cloudflare's test secret that lets every token pass.
pub const ALWAYS_PASSES: &str = "1x0000000000000000000000000000000AA";
/// Cloudflare's test secret that refuses every token.
pub const ALWAYS_FAILS: &str = "2x0000000000000000000000000000000AA";
/// Cloudflare's test secret that says of every token that it was used before.
pub const TOKEN_ALREADY_SPENT: &str = "3x0000000000000000000000000000000AA";
/// Cloudflare's test site key whose widget always passes.
pub const SITE_KEY_ALWAYS_PASSES: &str = "1x00000000000000000000AA";

/// A running fake; it stops when dropped.
#[derive(Debug)]
pub struct FakeTurnstile {
    addr: SocketAddr,
    verifier: Arc<Verifier>,
    stopping: CancellationToken,
}

/// How the fake misbehaves, for tests.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum TurnstileFault {
    /// Answers `internal-error`.
    InternalError,
    /// Verifies the next token, but answers `internal-error`; then behaves.
    InternalErrorOnce,
    /// Answers `bad-request`.
    BadRequest,
    /// Answers with status 500 and no JSON.
    ServerError,
    /// Never answers.
    Stall,
    /// Answers with a page for people.
    Html,
    /// Answers with half a JSON document.
    InvalidJson,
    /// Redirects to an address that would give the right answer.
    Redirect,
    /// Gives the right answer, and a megabyte more.
    Oversized,
}

impl FakeTurnstile {
    /// Listens on `addr`; port 0 takes a free one.
    pub async fn start(addr: SocketAddr) -> anyhow::Result<Self> {
        let listener = TcpListener::bind(addr).await.with_context(|| format!("cannot listen on {addr}"))?;
        let addr = listener.local_addr()?;
        let (verifier, stopping) = (Arc::new(Verifier::default()), CancellationToken::new());
        let serve = siteverify::serve(listener, verifier.clone());
        TaskTracker::new().spawn(stopping.clone().run_until_cancelled_owned(serve));
        Ok(Self { addr, verifier, stopping })
    }

    /// Where tokens are verified: `http://…/turnstile/v0/siteverify`.
    ///
    /// # Panics
    /// Never: a socket address makes a valid URL.
    #[must_use]
    #[expect(clippy::expect_used, reason = "see the panics section")]
    pub fn url(&self) -> Url {
        format!("http://{}/turnstile/v0/siteverify", self.addr).parse().expect("a valid URL")
    }

    /// How often a token was verified, faults included.
    #[must_use]
    pub fn verifications(&self) -> usize {
        self.verifier.calls()
    }

    /// The `remoteip` of the newest request that was verified.
    #[must_use]
    pub fn last_remote_ip(&self) -> Option<String> {
        self.verifier.last_remote_ip()
    }

    /// Misbehaves from now on, or no longer.
    pub fn set_fault(&self, fault: Option<TurnstileFault>) {
        self.verifier.set_fault(fault);
    }
}

impl Drop for FakeTurnstile {
    fn drop(&mut self) {
        self.stopping.cancel();
    }
}
