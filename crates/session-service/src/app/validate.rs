//! Says whether an access token is good right now.

use std::time::Duration;

use chrono::{DateTime, Utc};
use service_error::{ErrorKind, ServiceError};

use super::database_error;
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
    #[error("the session cannot be read")]
    Database(#[from] pg::Error),
}

impl ServiceError for ValidateError {
    fn kind(&self) -> ErrorKind {
        let Self::Database(error) = self;
        database_error::kind(error)
    }

    fn reason(&self) -> &'static str {
        let Self::Database(error) = self;
        database_error::reason(error)
    }

    fn retry_after(&self) -> Option<Duration> {
        let Self::Database(error) = self;
        database_error::retry_after(error)
    }
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
    let Ok(claims) = app.authenticate(access_token, now).await else {
        return Ok(Validity::Inactive(Inactive::Invalid));
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
    ) -> Result<AccessClaims, TokenRejection> {
        let first = access_token::authenticate(token, &self.keys.current(), &self.scope, now);
        if first != Err(TokenRejection::UnknownKey) {
            return first;
        }
        self.keys.look_for_more().await;
        access_token::authenticate(token, &self.keys.current(), &self.scope, now)
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
