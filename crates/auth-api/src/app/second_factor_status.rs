//! Says how an account's second factor stands.

use auth_ids::UserId;
use chrono::{DateTime, Utc};

use crate::{
    app::dependency::DependencyError,
    state::AppState,
    store::{recovery_codes, totp_factors},
};

/// The second factor of an account. Its secret is never told.
pub struct SecondFactorStatus {
    /// Since when codes are asked for, if they are.
    pub enabled_at: Option<DateTime<Utc>>,
    /// How many recovery codes are left.
    pub recovery_codes_remaining: u32,
}

/// How the second factor of `user` stands.
pub async fn status(state: &AppState, user: UserId) -> Result<SecondFactorStatus, DependencyError> {
    let mut conn = state.database.connection().await?;
    let factor = totp_factors::find(&mut conn, user).await?;
    let recovery_codes_remaining = recovery_codes::remaining(&mut conn, user).await?;
    Ok(SecondFactorStatus { enabled_at: factor.map(|factor| factor.enabled_at), recovery_codes_remaining })
}
