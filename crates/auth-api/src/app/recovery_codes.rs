//! Makes recovery codes, in place of all earlier ones.

use auth_events::{Client, Fact, commands::MailParameters, facts::MfaRecoveryCodesGenerated};
use auth_ids::UserId;
use diesel_async::AsyncConnection;
use pg::AsyncPgConnection;
use session_verifier::Session;

use crate::{
    app::{
        dependency::DependencyError,
        disable_totp::DisableTotpError,
        notices,
        second_factor::recovery_code_hash,
        step_up::{Proof, StepUpError, lock_unchanged, prove},
    },
    domain::{
        recovery_code::{COUNT, RecoveryCode},
        user::User,
    },
    state::AppState,
    store::{recovery_codes, totp_factors},
};

/// Makes new codes for somebody who proves who they are, by password and second factor, however recent their last authentication is.
pub async fn regenerate(
    state: &AppState,
    caller: &Session,
    proof: Proof,
    client: &Client,
) -> Result<Vec<RecoveryCode>, DisableTotpError> {
    if proof.password.is_none() {
        return Err(StepUpError::ReauthRequired.into());
    }
    let user = prove(state, caller, proof, "recovery_codes", client).await?;
    let mut conn = state.database.connection().await?;
    let codes = conn
        .transaction(async |conn| {
            let user = lock_unchanged(conn, &user).await?;
            if !totp_factors::exists(conn, user.id).await? {
                return Err(DisableTotpError::NotEnabled);
            }
            // Made before the codes, because it takes away what is newer than itself.
            let secure_link = notices::secure_link(conn, state, &user).await?;
            let codes = replace(conn, state, user.id, client).await?;
            tell_owner(conn, state, &user, codes.len(), secure_link, client).await?;
            Ok(codes)
        })
        .await?;
    state.outbox.wake();
    Ok(codes)
}

/// Makes new codes in the caller's transaction.
pub async fn replace(
    conn: &mut AsyncPgConnection,
    state: &AppState,
    user: UserId,
    client: &Client,
) -> Result<Vec<RecoveryCode>, DependencyError> {
    let codes: Vec<RecoveryCode> =
        (0..COUNT).map(|_| RecoveryCode::generate(&mut clock::secure_rng())).collect();
    let hashes: Vec<[u8; 32]> = codes.iter().map(|code| recovery_code_hash(state, user, code)).collect();
    recovery_codes::replace_all(conn, user, &hashes, state.clock.now()).await?;
    let count = u32::try_from(codes.len()).unwrap_or(u32::MAX);
    let fact = Fact::by_user(user, MfaRecoveryCodesGenerated { count }).from_client(client.clone());
    outbox::append_fact(conn, state.fact(Some(user), fact)).await?;
    Ok(codes)
}

/// Tells the owner that their codes are others now, of which there are `count`.
pub async fn tell_owner(
    conn: &mut AsyncPgConnection,
    state: &AppState,
    user: &User,
    count: usize,
    secure_link: String,
    client: &Client,
) -> Result<(), DependencyError> {
    let parameters = MailParameters::RecoveryCodesChanged {
        display_name: user.display_name.clone(),
        secure_link,
        occasion: notices::occasion(state, client),
        remaining: u32::try_from(count).unwrap_or(u32::MAX),
    };
    notices::send(conn, state, user, &parameters).await
}
