//! What a caller of `Validate` demands of a session beyond being live.

use chrono::{DateTime, TimeDelta, Utc};

use super::claims::AccessClaims;

#[derive(Debug, Clone, Default)]
pub struct Demands {
    /// The least assurance level that will do.
    pub min_aal: u32,
    /// The authentication may be no older than this.
    pub max_auth_age: Option<TimeDelta>,
    /// All of these must be granted.
    pub permissions: Vec<String>,
}

/// The first demand that is not met.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Unmet {
    Aal,
    AuthAge,
    Permission,
}

impl Demands {
    pub fn check(&self, claims: &AccessClaims, now: DateTime<Utc>) -> Result<(), Unmet> {
        if u32::from(claims.aal) < self.min_aal {
            return Err(Unmet::Aal);
        }
        if self.max_auth_age.is_some_and(|limit| now - claims.auth_time > limit) {
            return Err(Unmet::AuthAge);
        }
        let granted = |permission| claims.permissions.contains(permission);
        if self.permissions.iter().all(granted) { Ok(()) } else { Err(Unmet::Permission) }
    }
}
