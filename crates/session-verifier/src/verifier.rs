use std::{fmt, sync::Arc};

use access_tokens::{Demands, PublicKeys};
use tokio::{sync::watch, task::AbortHandle, time::timeout};

use crate::{
    ConnectError, Session, VerifierConfig, VerifyError,
    asking::Asking,
    channel,
    judge::{Doubt, Judge},
    sightings::{self, Sightings},
    watch::Watch,
};

/// Verifies access tokens. Clones share what they know; with the last one the work in the background ends.
#[derive(Clone)]
pub struct Verifier(Arc<Inner>);

struct Inner {
    judge: Arc<Judge>,
    asking: Asking,
    sightings: Sightings,
    background: AbortHandle,
}

impl Verifier {
    /// Connects to session-service. Waits for it as long as `config.first_contact` says and goes on without it: until it is heard, nothing is verified without
    /// asking. Fails only when the configuration cannot work.
    ///
    /// # Panics
    /// Outside a tokio runtime. The work in the background runs in the one that it is called in.
    pub async fn connect(config: VerifierConfig) -> Result<Self, ConnectError> {
        config.check()?;
        let client = channel::client(&config)?;
        let judge = Arc::new(Judge::new(&config)?);
        let (sightings, seen) = sightings::queue();
        let (ready, mut is_ready) = watch::channel(false);
        let watch = Watch::new(Arc::clone(&judge), client.clone(), ready);
        let reporting = sightings::report(seen, client.clone());
        let background = spawn(async { tokio::join!(watch.run(), reporting) });
        let asking = Asking::new(client);
        let verifier = Self(Arc::new(Inner { judge, asking, sightings, background }));
        // Either way the service begins.
        let _ = timeout(config.first_contact, is_ready.wait_for(|ready| *ready)).await;
        Ok(verifier)
    }

    /// The session of a token that is certainly good, without asking anybody: no I/O, and about a microsecond for a token that was seen before.
    /// [`VerifyError::Unsure`] when only session-service can tell; most callers want [`Verifier::authenticate`].
    pub fn verify(&self, token: &str) -> Result<Session, VerifyError> {
        Ok(self.judge(token)?)
    }

    /// Like [`Verifier::verify`], and asks session-service (one call of at most 800 ms) about what only it can tell.
    pub async fn authenticate(&self, token: &str) -> Result<Session, VerifyError> {
        match self.judge(token) {
            Ok(session) => Ok(session),
            Err(Doubt::Refused(error)) => Err(error),
            Err(doubt) => self.put(token, &doubt, &Demands::default(), false).await,
        }
    }

    /// Always asks session-service, which asks its database: for what must not happen after a revocation, not even a moment later. A token that
    /// is known to be bad is refused without a question.
    pub async fn ask(&self, token: &str, demands: &Demands) -> Result<Session, VerifyError> {
        match self.0.judge.look_at(token, self.0.judge.clock.now()) {
            Err(Doubt::Refused(error)) => Err(error),
            Err(doubt) => self.put(token, &doubt, demands, true).await,
            Ok(_) => self.put(token, &Doubt::NotCovered, demands, true).await,
        }
    }

    /// Looks at the signature, at the times and at what happens to be known of revocations. **A token that was revoked may pass**, until it expires: this is for
    /// harmless reading that shall go on while session-service is away, after [`Verifier::authenticate`] answered [`VerifyError::Unavailable`], and for
    /// nothing else.
    pub fn verify_unconfirmed(&self, token: &str) -> Result<Session, VerifyError> {
        let now = self.0.judge.clock.now();
        Ok(Session::seen(self.0.judge.look_at(token, now)?, now))
    }

    /// The keys that tokens are verified by, as session-service told them last; none before it was heard for the first time.
    #[must_use]
    pub fn public_keys(&self) -> PublicKeys {
        self.0.judge.tokens.keys()
    }

    /// Whether revocations are told at this moment. While they are not, [`Verifier::authenticate`] asks about every token.
    #[must_use]
    pub fn is_current(&self) -> bool {
        self.0.judge.lease.coverage().is_current()
    }

    fn judge(&self, token: &str) -> Result<Session, Doubt> {
        let Inner { judge, sightings, .. } = &*self.0;
        let now = judge.clock.now();
        let seen = judge.judge(token, now)?;
        sightings.note(&seen, now);
        Ok(Session::seen(seen, now))
    }

    async fn put(
        &self,
        token: &str,
        doubt: &Doubt,
        demands: &Demands,
        authoritative: bool,
    ) -> Result<Session, VerifyError> {
        let Inner { judge, asking, .. } = &*self.0;
        let is_strange = matches!(doubt, Doubt::UnknownKey) && judge.tokens.has_keys();
        let answer = asking.ask(token, demands, authoritative, is_strange, &judge.scope).await;
        judge.metrics.asked(&answer);
        Ok(Session::told(answer?, judge.clock.now()))
    }
}

#[expect(
    clippy::disallowed_methods,
    reason = "a library has no lifecycle; the task is aborted with the last verifier"
)]
fn spawn(work: impl Future<Output = ((), ())> + Send + 'static) -> AbortHandle {
    tokio::spawn(work).abort_handle()
}

impl Drop for Inner {
    fn drop(&mut self) {
        self.background.abort();
    }
}

impl fmt::Debug for Verifier {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Verifier").field("is_current", &self.is_current()).finish_non_exhaustive()
    }
}
