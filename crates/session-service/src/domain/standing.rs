//! How a session stands right now, as far as its access tokens depend on it.

use access_tokens::AccessClaims;
use auth_ids::UserId;
use chrono::{DateTime, Utc};

#[derive(Debug, Clone, Copy)]
pub struct Standing {
    pub user_id: UserId,
    /// The user's epoch.
    pub epoch: u64,
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
}
