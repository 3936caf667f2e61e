//! Says whether an access token is good right now.

use std::{sync::Arc, time::Duration};

use access_tokens::{Demands, SeenToken, TokenRejection, Unmet};
use chrono::{DateTime, Utc};
use service_error::{ErrorKind, ServiceError};

use super::{database_error, signing_keys::KeysUnavailable};
use crate::{
    state::App,
    store::sessions::{self, Sighting},
};

/// That a token is in use is told no more often than this.
const NOTED_EVERY_SECONDS: i64 = 60;

/// What is to be known about a token.
#[derive(Debug)]
pub enum Validity {
    Active(Arc<SeenToken>),
    Inactive(Inactive),
}

/// Why a token is not good.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Inactive {
    Invalid,
    Expired,
    Revoked,
    Unmet(Unmet),
}

#[derive(Debug, thiserror::Error)]
pub enum ValidateError {
    #[error(transparent)]
    Keys(#[from] KeysUnavailable),
    #[error("the session cannot be read")]
    Database(#[from] pg::Error),
}

impl ServiceError for ValidateError {
    fn kind(&self) -> ErrorKind {
        match self {
            Self::Keys(error) => error.kind(),
            Self::Database(error) => database_error::kind(error),
        }
    }

    fn reason(&self) -> &'static str {
        match self {
            Self::Keys(error) => error.reason(),
            Self::Database(error) => database_error::reason(error),
        }
    }

    fn retry_after(&self) -> Option<Duration> {
        match self {
            Self::Keys(error) => error.retry_after(),
            Self::Database(error) => database_error::retry_after(error),
        }
    }
}

/// Why nothing is known of a token's holder.
#[derive(Debug, thiserror::Error)]
pub enum AuthenticateError {
    #[error(transparent)]
    Rejected(#[from] TokenRejection),
    #[error(transparent)]
    Keys(#[from] KeysUnavailable),
}

/// What is asked about a token.
#[derive(Debug, Default)]
pub struct Question {
    pub access_token: String,
    pub demands: Demands,
    /// Whether PostgreSQL is to be asked, and not what this replica remembers.
    pub authoritative: bool,
}

/// Says whether an access token is good right now and meets the caller's demands.
#[tracing::instrument(name = "app.sessions.validate", level = "debug", skip_all)]
pub async fn validate(app: &App, question: &Question) -> Result<Validity, ValidateError> {
    let timer = std::time::Instant::now();
    let result = judge(app, question).await;
    let seconds = timer.elapsed().as_secs_f64();
    app.metrics.validate_seconds.with_label_values(&[label(&result)]).observe(seconds);
    result
}

async fn judge(app: &App, question: &Question) -> Result<Validity, ValidateError> {
    let now = app.now();
    let seen = match app.authenticate(&question.access_token, now).await {
        Ok(seen) => seen,
        Err(AuthenticateError::Rejected(_)) => return Ok(Validity::Inactive(Inactive::Invalid)),
        Err(AuthenticateError::Keys(error)) => return Err(error.into()),
    };
    match seen.claims.check_time(now) {
        Ok(()) => {}
        Err(TokenRejection::Expired) => return Ok(Validity::Inactive(Inactive::Expired)),
        Err(_) => return Ok(Validity::Inactive(Inactive::Invalid)),
    }
    if is_revoked(app, &seen, question.authoritative, now).await? {
        return Ok(Validity::Inactive(Inactive::Revoked));
    }
    if seen.is_news(now, NOTED_EVERY_SECONDS) {
        app.last_seen.note(Sighting { session: seen.claims.sid, token: seen.claims.jti, at: now });
    }
    Ok(match question.demands.check(&seen.claims, now) {
        Ok(()) => Validity::Active(seen),
        Err(unmet) => Validity::Inactive(Inactive::Unmet(unmet)),
    })
}

/// A token ends before its session does, so that what was revoked lately is all there is to know of a session. Every token is younger than what
/// the feed remembers.
async fn is_revoked(
    app: &App,
    seen: &SeenToken,
    authoritative: bool,
    now: DateTime<Utc>,
) -> Result<bool, pg::Error> {
    // What is known is true, however old it is.
    if app.feed.revokes(&seen.claims) {
        return Ok(true);
    }
    if !authoritative && app.feed.is_current() {
        return Ok(false);
    }
    let mut conn = app.database.connection().await?;
    let standing = sessions::standing(&mut conn, seen.claims.sid).await?;
    Ok(!standing.is_some_and(|standing| standing.honours(&seen.claims, now)))
}

impl App {
    /// A token that one of our keys signed, expired or not. Looks once for a key that another replica made.
    pub async fn authenticate(
        &self,
        token: &str,
        now: DateTime<Utc>,
    ) -> Result<Arc<SeenToken>, AuthenticateError> {
        match self.verifier.authenticate(token, now) {
            Err(TokenRejection::UnknownKey) => {
                self.keys.look_for_more().await?;
                Ok(self.verifier.authenticate(token, now)?)
            }
            result => Ok(result?),
        }
    }
}

fn label(result: &Result<Validity, ValidateError>) -> &'static str {
    match result {
        Ok(Validity::Active(_)) => "active",
        Ok(Validity::Inactive(Inactive::Invalid)) => "invalid",
        Ok(Validity::Inactive(Inactive::Expired)) => "expired",
        Ok(Validity::Inactive(Inactive::Revoked)) => "revoked",
        Ok(Validity::Inactive(Inactive::Unmet(_))) => "unmet",
        Err(_) => "error",
    }
}
