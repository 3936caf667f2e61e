//! The account of whoever asks.

use std::time::Duration;

use service_error::{ErrorKind, ServiceError};

use crate::{
    app::dependency::{DependencyError, depends_on_the_outside},
    clients::sessions::Claims,
    domain::user::User,
    state::AppState,
    store::{totp_factors, users},
};

/// Why the account cannot be shown.
#[derive(Debug, thiserror::Error)]
pub enum MeError {
    /// The token outlived its account.
    #[error("the account is gone")]
    Gone,
    /// See [`DependencyError`].
    #[error(transparent)]
    Dependency(DependencyError),
}

depends_on_the_outside!(MeError);

impl ServiceError for MeError {
    fn kind(&self) -> ErrorKind {
        match self {
            Self::Gone => ErrorKind::Unauthenticated,
            Self::Dependency(error) => error.kind(),
        }
    }

    fn reason(&self) -> &'static str {
        match self {
            Self::Gone => "invalid_token",
            Self::Dependency(error) => error.reason(),
        }
    }

    fn retry_after(&self) -> Option<Duration> {
        match self {
            Self::Gone => None,
            Self::Dependency(error) => error.retry_after(),
        }
    }
}

/// The account that `claims` speak for, and whether a second factor protects it.
pub async fn me(state: &AppState, claims: &Claims) -> Result<(User, bool), MeError> {
    let mut conn = state.database.connection().await?;
    let user = users::find(&mut conn, claims.user_id).await?.ok_or(MeError::Gone)?;
    let mfa_enabled = totp_factors::exists(&mut conn, user.id).await?;
    Ok((user, mfa_enabled))
}
