//! Ends the session that a credential names.

use auth_events::Client;

use crate::{app::dependency::DependencyError, clients::sessions::SessionCredential, state::AppState};

/// Logs out; idempotent, and content with a credential that names no session. session-service writes the audit event in the transaction that ends the
/// session, so that an acknowledged logout is always in the log.
pub async fn logout(
    state: &AppState,
    credential: &SessionCredential,
    client: &Client,
) -> Result<(), DependencyError> {
    state.sessions.revoke(credential, "logout", client).await?;
    Ok(())
}
