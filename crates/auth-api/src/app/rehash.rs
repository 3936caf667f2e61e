//! Renews a stored hash while the password is at hand: the only chance to change what it costs.

use auth_ids::UserId;

use crate::{
    domain::plain_password::PlainPassword,
    password::{Comparison, VaultError},
    state::AppState,
    store::users,
};

/// Renews the hash of `password` if `outcome`, of comparing it with `verified`, says that it is stale. It replaces exactly that hash, so that a
/// password that was changed meanwhile stays. What goes wrong is logged and nothing else: the next login tries again.
pub async fn rehash_if_stale(
    state: &AppState,
    user: UserId,
    verified: &[u8],
    password: &PlainPassword,
    outcome: Comparison,
) {
    if outcome != Comparison::SameButStale {
        return;
    }
    match rehash(state, user, verified, password).await {
        Ok(true) => tracing::debug!(user.id = %user, "Renewed the password hash of user {user}"),
        Ok(false) => {
            tracing::debug!(user.id = %user, "The password of user {user} was changed while its hash was renewed");
        }
        // Logins come first.
        Err(RehashError::Vault(VaultError::Overloaded(_))) => {}
        Err(error) => {
            tracing::warn!(user.id = %user, "The password hash of user {user} was not renewed: {error}");
        }
    }
}

#[derive(Debug, thiserror::Error)]
enum RehashError {
    #[error(transparent)]
    Vault(#[from] VaultError),
    #[error(transparent)]
    Database(#[from] pg::Error),
}

async fn rehash(
    state: &AppState,
    user: UserId,
    verified: &[u8],
    password: &PlainPassword,
) -> Result<bool, RehashError> {
    let Some(renewed) = state.vault.renew(password, user, verified).await? else { return Ok(false) };
    let mut conn = state.database.connection().await?;
    Ok(users::replace_password_hash(&mut conn, user, verified, &renewed).await?)
}
