use std::sync::Arc;

use access_tokens::{RevocationSet, SeenToken, TokenRejection, TokenScope, TokenVerifier};
use chrono::{DateTime, Utc};
use clock::SharedClock;

use crate::{VerifierConfig, VerifyError, lease::Lease, metrics::Metrics};

/// Judges tokens by what is known; the stream makes it known.
pub(crate) struct Judge {
    pub scope: TokenScope,
    pub tokens: TokenVerifier,
    pub revoked: RevocationSet,
    pub lease: Arc<Lease>,
    pub metrics: Metrics,
    pub clock: SharedClock,
}

/// Why a token is not believed at once.
#[derive(Debug)]
pub(crate) enum Doubt {
    /// It is not good, whatever anybody says.
    Refused(VerifyError),
    /// Its key may be new. Anybody can make such a token.
    UnknownKey,
    /// It is signed, and may have been revoked without our knowing.
    NotCovered,
}

impl From<TokenRejection> for Doubt {
    fn from(rejection: TokenRejection) -> Self {
        match rejection {
            TokenRejection::UnknownKey => Self::UnknownKey,
            TokenRejection::Expired => Self::Refused(VerifyError::Expired),
            TokenRejection::Malformed
            | TokenRejection::Forged
            | TokenRejection::WrongClaims
            | TokenRejection::NotYetValid => Self::Refused(VerifyError::Invalid),
        }
    }
}

impl From<Doubt> for VerifyError {
    fn from(doubt: Doubt) -> Self {
        match doubt {
            Doubt::Refused(error) => error,
            Doubt::UnknownKey | Doubt::NotCovered => Self::Unsure,
        }
    }
}

impl Judge {
    pub fn new(config: &VerifierConfig) -> Result<Self, prometheus::Error> {
        let scope = TokenScope::new(&config.environment, &config.issuer, &config.audience);
        let lease = Arc::new(Lease::new());
        Ok(Self {
            tokens: TokenVerifier::new(scope.clone(), config.capacity),
            scope,
            revoked: RevocationSet::default(),
            metrics: Metrics::new(&lease, config.registry.as_ref())?,
            lease,
            clock: Arc::clone(&config.clock),
        })
    }

    /// The token, if it is certain that it is good at `now`.
    pub fn judge(&self, token: &str, now: DateTime<Utc>) -> Result<Arc<SeenToken>, Doubt> {
        // Before the revocations: what the lease says is true of those that are known now, and of more.
        let coverage = self.lease.coverage();
        let verdict = self.look_at(token, now).and_then(|seen| {
            if coverage.includes(seen.claims.iat) { Ok(seen) } else { Err(Doubt::NotCovered) }
        });
        self.metrics.judged(&verdict);
        verdict
    }

    /// The token, if it is signed, not expired, and not known to be revoked.
    pub fn look_at(&self, token: &str, now: DateTime<Utc>) -> Result<Arc<SeenToken>, Doubt> {
        let seen = self.tokens.verify(token, now)?;
        if self.revoked.revokes(&seen.claims) { Err(Doubt::Refused(VerifyError::Revoked)) } else { Ok(seen) }
    }
}
