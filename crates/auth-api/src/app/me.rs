//! The account of whoever asks.

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use service_error::{ErrorKind, ServiceError};
use session_verifier::Session;
use tokio::time::timeout;

use crate::{
    app::{
        dependency::{DependencyError, depends_on_the_outside},
        known_accounts::Knowledge,
    },
    domain::account::Account,
    state::AppState,
    store::users,
};

/// How long reading an account may take that could be shown without.
const PATIENCE: Duration = Duration::from_millis(500);

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

/// The account that `caller` is, as it was at most two seconds ago; while PostgreSQL is away, at most five minutes.
pub async fn me(state: &AppState, caller: &Session) -> Result<Arc<Account>, MeError> {
    let now = Instant::now();
    match state.accounts.find(caller.user_id(), now) {
        Knowledge::Fresh(account) => Ok(account),
        Knowledge::Stale(account) if state.accounts.rest().goes_on(now) => Ok(account),
        Knowledge::Stale(account) => match timeout(PATIENCE, read(state, caller)).await {
            Ok(Err(MeError::Dependency(error))) if error.kind() == ErrorKind::Unavailable => {
                could_not_read(state, &error);
                Ok(account)
            }
            Ok(answer) => answer,
            Err(elapsed) => {
                could_not_read(state, &elapsed);
                Ok(account)
            }
        },
        Knowledge::None => read(state, caller).await,
    }
}

async fn read(state: &AppState, caller: &Session) -> Result<Arc<Account>, MeError> {
    let reading = state.accounts.begin_reading();
    let account = users::find_account(&mut *state.database.connection().await?, caller.user_id()).await?;
    state.accounts.rest().end();
    let Some(account) = account.map(Arc::new) else {
        state.accounts.forget(caller.user_id());
        return Err(MeError::Gone);
    };
    state.accounts.remember(&reading, Arc::clone(&account), Instant::now());
    Ok(account)
}

fn could_not_read(state: &AppState, error: &dyn std::error::Error) {
    if state.accounts.rest().begin(Instant::now()) {
        tracing::warn!("Accounts are shown as they were up to five minutes ago: {error}");
    }
}
