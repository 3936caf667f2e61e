//! Says whether an access token is good right now.

use std::time::Duration;

use chrono::{DateTime, Utc};
use service_error::{ErrorKind, ServiceError};

use super::{database_error, signing_keys::KeysUnavailable};
use crate::{
    domain::{
        access_token::{self, TokenRejection},
        claims::AccessClaims,
        demands::{Demands, Unmet},
    },
    state::App,
    store::sessions::{self, Sighting},
};

/// What is to be known about a token.
#[derive(Debug)]
pub enum Validity {
    Active(Box<AccessClaims>),
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

/// Says whether an access token is good right now and meets the caller's demands.
#[tracing::instrument(name = "app.sessions.validate", level = "debug", skip_all)]
pub async fn validate(app: &App, access_token: &str, demands: &Demands) -> Result<Validity, ValidateError> {
    let timer = std::time::Instant::now();
    let result = judge(app, access_token, demands).await;
    let seconds = timer.elapsed().as_secs_f64();
    app.metrics.validate_seconds.with_label_values(&[label(&result)]).observe(seconds);
    result
}

async fn judge(app: &App, access_token: &str, demands: &Demands) -> Result<Validity, ValidateError> {
    let now = app.now();
    let claims = match app.authenticate(access_token, now).await {
        Ok(claims) => claims,
        Err(AuthenticateError::Rejected(_)) => return Ok(Validity::Inactive(Inactive::Invalid)),
        Err(AuthenticateError::Keys(error)) => return Err(error.into()),
    };
    match claims.check_time(now) {
        Ok(()) => {}
        Err(TokenRejection::Expired) => return Ok(Validity::Inactive(Inactive::Expired)),
        Err(_) => return Ok(Validity::Inactive(Inactive::Invalid)),
    }
    let mut conn = app.database.connection().await?;
    let standing = sessions::standing(&mut conn, claims.sid).await?;
    let Some(standing) = standing.filter(|standing| standing.honours(&claims, now)) else {
        return Ok(Validity::Inactive(Inactive::Revoked));
    };
    if standing.is_news(claims.jti, now) {
        app.last_seen.note(Sighting { session: claims.sid, token: claims.jti, at: now });
    }
    Ok(match demands.check(&claims, now) {
        Ok(()) => Validity::Active(Box::new(claims)),
        Err(unmet) => Validity::Inactive(Inactive::Unmet(unmet)),
    })
}

impl App {
    /// The claims of a token that one of our keys signed, expired or not. Looks once for a key that another replica made.
    pub async fn authenticate(
        &self,
        token: &str,
        now: DateTime<Utc>,
    ) -> Result<AccessClaims, AuthenticateError> {
        let authenticate = || access_token::authenticate(token, &self.keys.current(), &self.scope, now);
        let mut result = authenticate();
        if result == Err(TokenRejection::UnknownKey) {
            self.keys.look_for_more().await?;
            result = authenticate();
        }
        Ok(result?)
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
