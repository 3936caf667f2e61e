//! Ends the session that a credential names.

use auth_events::{Client, Fact, facts::AuthLogout};

use crate::{app::dependency::DependencyError, clients::sessions::SessionCredential, state::AppState};

/// Logs out; idempotent, and content with a credential that names no session.
pub async fn logout(
    state: &AppState,
    credential: &SessionCredential,
    client: &Client,
) -> Result<(), DependencyError> {
    let revocation = state.sessions.revoke(credential, "logout", client).await?;
    if let Some(ended) = revocation.filter(|revocation| revocation.was_live) {
        let fact = Fact::by_user(ended.user_id, AuthLogout {}).on("session", ended.session_id);
        let event = state.fact(Some(ended.user_id), fact.from_client(client.clone()));
        outbox::append_fact(&mut *state.database.connection().await?, event).await?;
        state.outbox.wake();
    }
    Ok(())
}
