//! Changes the password of somebody who knows the current one.

use std::{borrow::Cow, time::Duration};

use auth_events::{Client, Fact, facts::UserPasswordChanged};
use chrono::TimeDelta;
use diesel_async::AsyncConnection;
use pg::AsyncPgConnection;
use service_error::{ErrorKind, FieldError, ServiceError};
use session_verifier::Session;

use crate::{
    app::{
        begin_session::{DEVICE_LIFETIME, LoggedIn, remember_browser},
        dependency::{DependencyError, depends_on_the_outside},
        forget_pending::forget_pending,
        password_rules,
        reset_password::tell_owner,
        revocation,
        step_up::{Proof, StepUpError, lock_unchanged, prove},
        verify_second_factor::full_proof,
    },
    clients::sessions::{IssuedTokens, NewSession, SessionCredential},
    domain::{
        bearer_secret::{DeviceToken, SecretHash},
        permission,
        plain_password::{PasswordError, PlainPassword},
        user::User,
    },
    state::AppState,
    store::{
        known_devices::{self, KnownDevice},
        pending_revocations::PendingRevocation,
        totp_factors, users,
    },
};

const REASON: &str = "password_changed";
/// A session that nobody wants to be remembered ends after this.
const NOT_REMEMBERED: TimeDelta = TimeDelta::hours(12);

/// Why the password stays what it is.
#[derive(Debug, thiserror::Error)]
pub enum ChangePasswordError {
    /// See [`StepUpError`].
    #[error(transparent)]
    StepUp(#[from] StepUpError),
    /// The new password breaks a rule.
    #[error(transparent)]
    NewPassword(PasswordError),
    /// See [`DependencyError`].
    #[error(transparent)]
    Dependency(DependencyError),
}

depends_on_the_outside!(ChangePasswordError);

impl ServiceError for ChangePasswordError {
    fn kind(&self) -> ErrorKind {
        match self {
            Self::StepUp(error) => error.kind(),
            Self::NewPassword(_) => ErrorKind::Unprocessable,
            Self::Dependency(error) => error.kind(),
        }
    }

    fn reason(&self) -> &'static str {
        match self {
            Self::StepUp(error) => error.reason(),
            Self::NewPassword(error) => password_rules::code(*error),
            Self::Dependency(error) => error.reason(),
        }
    }

    fn public_detail(&self) -> Cow<'static, str> {
        match self {
            Self::StepUp(error) => error.public_detail(),
            Self::NewPassword(error) => password_rules::detail(*error).into(),
            Self::Dependency(error) => error.public_detail(),
        }
    }

    fn field_errors(&self) -> Vec<FieldError> {
        match self {
            Self::NewPassword(error) => vec![password_rules::field_error("newPassword", *error)],
            _ => Vec::new(),
        }
    }

    fn retry_after(&self) -> Option<Duration> {
        match self {
            Self::StepUp(error) => error.retry_after(),
            Self::NewPassword(_) => None,
            Self::Dependency(error) => error.retry_after(),
        }
    }
}

/// Changes the password for somebody who gives the current one in `proof`, however recent their last authentication is. Every session ends; the caller
/// gets a new one in the place of theirs.
pub async fn change_password(
    state: &AppState,
    caller: &Session,
    new_password: &str,
    proof: Proof,
    client: &Client,
) -> Result<LoggedIn, ChangePasswordError> {
    if proof.password.is_none() {
        return Err(StepUpError::ReauthRequired.into());
    }
    // Judged before the proof, so that a refused password uses no security code up.
    let chosen = choose(state, caller, new_password).await?;
    let device = proof.device.as_ref().map(DeviceToken::hash);
    let user = prove(state, caller, proof, "change_password", client).await?;
    let sealed = state.vault.seal(&state.vault.hash(&chosen).await?, user.id);
    // Begun before the change: if session-service fails now, nothing has happened, and afterwards nothing is missing. The others end after it only: an
    // attempt that comes second would end the session of the one that came first.
    let tokens = begin(state, caller, &user, client).await?;
    match commit(state, &user, &sealed, device.as_ref(), &tokens, client).await {
        Ok((revocation, device)) => {
            state.outbox.wake();
            revocation::carry_out(state, &revocation, client).await;
            Ok(LoggedIn { tokens, device })
        }
        Err(error) => {
            let session = SessionCredential::Id(tokens.session_id);
            state.sessions.revoke(&session, "password_not_changed", client).await?;
            Err(error)
        }
    }
}

async fn choose(
    state: &AppState,
    caller: &Session,
    new_password: &str,
) -> Result<PlainPassword, ChangePasswordError> {
    let user = users::find(&mut *state.database.connection().await?, caller.user_id()).await?;
    let user = user.ok_or(StepUpError::Gone)?;
    let chosen = state.passwords.choose(new_password, &user.email, user.display_name.as_deref());
    chosen.map_err(ChangePasswordError::NewPassword)
}

/// Begins the session that takes the place of the caller's: with its name, and remembered if that was.
async fn begin(
    state: &AppState,
    caller: &Session,
    user: &User,
    client: &Client,
) -> Result<IssuedTokens, ChangePasswordError> {
    let has_second_factor = totp_factors::exists(&mut *state.database.connection().await?, user.id).await?;
    let mut sessions = state.sessions.list(user.id).await?.into_iter();
    let current = sessions.find(|session| session.id == caller.session_id());
    let (methods, aal) = full_proof(has_second_factor);
    let session = NewSession {
        user_id: user.id,
        roles: user.roles.clone(),
        permissions: permission::permissions_of(&user.roles),
        methods,
        aal,
        authenticated_at: None,
        remember_me: current
            .as_ref()
            .is_some_and(|session| session.expires_at - session.created_at > NOT_REMEMBERED),
        device_name: current.and_then(|session| session.device_name),
    };
    Ok(state.sessions.create(session, client).await?)
}

/// The change itself, and what a browser that was not known keeps.
async fn commit(
    state: &AppState,
    proved: &User,
    sealed: &[u8],
    device: Option<&SecretHash>,
    tokens: &IssuedTokens,
    client: &Client,
) -> Result<(PendingRevocation, Option<DeviceToken>), ChangePasswordError> {
    let mut conn = state.database.connection().await?;
    conn.transaction(async |conn| {
        let user = lock_unchanged(conn, proved).await?;
        let known = match device {
            Some(hash) => known_devices::find(conn, hash, state.clock.now()).await?,
            None => None,
        };
        let known = known.filter(|known| known.user_id == user.id).zip(device);
        users::set_password(conn, user.id, sealed, state.clock.now()).await?;
        forget_pending(conn, user.id).await?;
        let device = remember(conn, state, &user, known).await?;
        let fact = Fact::by_user(user.id, UserPasswordChanged {}).from_client(client.clone());
        outbox::append_fact(conn, state.fact(Some(user.id), fact)).await?;
        tell_owner(conn, state, &user, client).await?;
        let kept = Some(tokens.session_id);
        Ok((revocation::decide(conn, state, user.id, kept, REASON).await?, device))
    })
    .await
}

/// Makes the caller's browser the only one that is known, without trust: everything else that was known may be an attacker's.
async fn remember(
    conn: &mut AsyncPgConnection,
    state: &AppState,
    user: &User,
    known: Option<(KnownDevice, &SecretHash)>,
) -> pg::Result<Option<DeviceToken>> {
    let Some((device, hash)) = known else {
        return Ok(Some(remember_browser(conn, state, user.id).await?));
    };
    let now = state.clock.now();
    let device = KnownDevice { trusted_until: None, ..device };
    known_devices::insert(conn, device, hash, now, now + DEVICE_LIFETIME).await?;
    Ok(None)
}
