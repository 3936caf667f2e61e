use chrono::{DateTime, TimeDelta, Utc};

use crate::AccessClaims;

/// What a caller demands of a token beyond being good.
#[derive(Debug, Clone, Default)]
pub struct Demands {
    /// The least assurance level that will do; 0 asks for none.
    pub min_aal: u32,
    /// The authentication may be no older than this.
    pub max_auth_age: Option<TimeDelta>,
    /// All of these must be granted.
    pub permissions: Vec<String>,
}

/// The first demand that is not met.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Unmet {
    /// A second factor is needed.
    #[error("the assurance level is too low")]
    Aal,
    /// The user must authenticate again.
    #[error("the authentication is too old")]
    AuthAge,
    /// The user may not do this.
    #[error("a permission is missing")]
    Permission,
}

impl Demands {
    /// Whether a token with `claims` meets all of them at `now`.
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
