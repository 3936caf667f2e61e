//! How a session stands right now, as far as its access tokens depend on it.

use auth_ids::{AccessTokenId, UserId};
use chrono::{DateTime, TimeDelta, Utc};

use super::claims::AccessClaims;

/// The last use of a session is written down no more often than this.
const LAST_SEEN_PRECISION: TimeDelta = TimeDelta::minutes(1);

#[derive(Debug, Clone, Copy)]
pub struct Standing {
    pub user_id: UserId,
    /// The user's epoch.
    pub epoch: u64,
    /// The access token of the current generation, and whether it was seen.
    pub access_token_id: AccessTokenId,
    pub generation_seen: bool,
    pub last_seen_at: DateTime<Utc>,
    pub idle_expires_at: DateTime<Utc>,
    pub expires_at: DateTime<Utc>,
    pub revoked_at: Option<DateTime<Utc>>,
}

impl Standing {
    /// Whether an access token with `claims`, good in itself, is honoured.
    pub fn honours(&self, claims: &AccessClaims, now: DateTime<Utc>) -> bool {
        self.revoked_at.is_none()
            && now < self.idle_expires_at
            && now < self.expires_at
            && claims.sub == self.user_id
            && claims.epoch >= self.epoch
    }

    /// Whether it is news that the token `id` is in use.
    pub fn is_news(&self, id: AccessTokenId, now: DateTime<Utc>) -> bool {
        let first_of_generation = id == self.access_token_id && !self.generation_seen;
        first_of_generation || now - self.last_seen_at >= LAST_SEEN_PRECISION
    }
}
