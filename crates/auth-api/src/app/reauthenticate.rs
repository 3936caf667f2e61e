//! Lets somebody with a session prove once more who they are, so that for a while less is asked for where a recent login is enough.

use auth_events::Client;
use session_verifier::Session;

use crate::{
    app::{
        step_up::{Proof, StepUpError, prove},
        verify_second_factor::full_proof,
    },
    clients::sessions::IssuedAccess,
    state::AppState,
    store::totp_factors,
};

/// An access token that says that its user has authenticated just now, by the password and, where there is one, the second factor.
pub async fn reauthenticate(
    state: &AppState,
    caller: &Session,
    proof: Proof,
    client: &Client,
) -> Result<IssuedAccess, StepUpError> {
    if proof.password.is_none() {
        return Err(StepUpError::ReauthRequired);
    }
    let user = prove(state, caller, proof, "reauthenticate", client).await?;
    let has_second_factor = totp_factors::exists(&mut *state.database.connection().await?, user.id).await?;
    let (methods, aal) = full_proof(has_second_factor);
    Ok(state.sessions.elevate(caller.session_id(), user.id, &methods, aal, client).await?)
}
