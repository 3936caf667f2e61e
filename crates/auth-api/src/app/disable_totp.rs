//! Takes the authenticator app away.

use std::{borrow::Cow, time::Duration};

use auth_events::{Client, Fact, commands::MailParameters, facts::MfaTotpDisabled};
use auth_ids::UserId;
use chrono::{DateTime, Utc};
use diesel_async::AsyncConnection;
use pg::AsyncPgConnection;
use service_error::{ErrorKind, ServiceError};
use session_verifier::Session;

use crate::{
    app::{
        dependency::{DependencyError, depends_on_the_outside},
        notices,
        recovery_codes::tell_owner as tell_of_codes,
        revocation,
        step_up::{Proof, StepUpError, lock_unchanged, prove},
        trusted_devices,
    },
    domain::user::User,
    state::AppState,
    store::{pending_revocations::PendingRevocation, recovery_codes, totp_enrolments, totp_factors, users},
};

const REASON: &str = "totp_disabled";

/// Why the second factor stays as it is.
#[derive(Debug, thiserror::Error)]
pub enum DisableTotpError {
    /// See [`StepUpError`].
    #[error(transparent)]
    StepUp(#[from] StepUpError),
    /// There is none.
    #[error("the account has no authenticator app")]
    NotEnabled,
    /// See [`DependencyError`].
    #[error(transparent)]
    Dependency(DependencyError),
}

depends_on_the_outside!(DisableTotpError);

impl ServiceError for DisableTotpError {
    fn kind(&self) -> ErrorKind {
        match self {
            Self::StepUp(error) => error.kind(),
            Self::NotEnabled => ErrorKind::Conflict,
            Self::Dependency(error) => error.kind(),
        }
    }

    fn reason(&self) -> &'static str {
        match self {
            Self::StepUp(error) => error.reason(),
            Self::NotEnabled => "totp_not_enabled",
            Self::Dependency(error) => error.reason(),
        }
    }

    fn public_detail(&self) -> Cow<'static, str> {
        match self {
            Self::StepUp(error) => error.public_detail(),
            Self::NotEnabled => "No authenticator app is set up.".into(),
            Self::Dependency(error) => error.public_detail(),
        }
    }

    fn retry_after(&self) -> Option<Duration> {
        match self {
            Self::StepUp(error) => error.retry_after(),
            Self::NotEnabled => None,
            Self::Dependency(error) => error.retry_after(),
        }
    }
}

/// Asks for no second factor any more, once its owner proves who they are by password and second factor, however recent their last authentication is.
/// Other sessions end, no browser stays trusted, and the recovery codes are worth nothing.
pub async fn disable(
    state: &AppState,
    caller: &Session,
    proof: Proof,
    client: &Client,
) -> Result<(), DisableTotpError> {
    if proof.password.is_none() {
        return Err(StepUpError::ReauthRequired.into());
    }
    let user = prove(state, caller, proof, "disable_totp", client).await?;
    let kept = Some(caller.session_id());
    revocation::before_the_change(state, user.id, kept, REASON, client).await?;
    let mut conn = state.database.connection().await?;
    let revocation =
        conn.transaction(async |conn| take_away(conn, state, caller, &user, client).await).await?;
    drop(conn);
    state.accounts.forget(user.id);
    state.outbox.wake();
    revocation::carry_out(state, &revocation, client).await;
    Ok(())
}

async fn take_away(
    conn: &mut AsyncPgConnection,
    state: &AppState,
    caller: &Session,
    proved: &User,
    client: &Client,
) -> Result<PendingRevocation, DisableTotpError> {
    let user = lock_unchanged(conn, proved).await?;
    if !totp_factors::delete(conn, user.id).await? {
        return Err(DisableTotpError::NotEnabled);
    }
    recovery_codes::delete_all(conn, user.id).await?;
    totp_enrolments::delete(conn, user.id).await?;
    trusted_devices::untrust_all(conn, state, user.id, client).await?;
    users::begin_credential_epoch(conn, user.id, state.clock.now()).await?;
    record(conn, state, user.id, client).await?;
    tell_owner(conn, state, &user, client).await?;
    Ok(revocation::decide(conn, state, user.id, Some(caller.session_id()), REASON).await?)
}

/// What [`forget_since`] took away.
#[must_use = "the owner must hear of it"]
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Forgotten {
    /// There was nothing of an intruder's.
    Nothing,
    /// Codes for a second factor that stays.
    RecoveryCodes,
    /// A second factor, with its codes.
    SecondFactor,
}

/// Takes away a second factor that was set up at `since` or later, when an intruder may have been in the account, with its recovery codes, and codes
/// that were made since for an older one. The caller tells the owner, and begins another credential epoch.
pub async fn forget_since(
    conn: &mut AsyncPgConnection,
    state: &AppState,
    user: UserId,
    since: DateTime<Utc>,
    client: &Client,
) -> Result<Forgotten, DependencyError> {
    if !totp_factors::delete_since(conn, user, since).await? {
        let had_codes = recovery_codes::delete_since(conn, user, since).await?;
        return Ok(if had_codes { Forgotten::RecoveryCodes } else { Forgotten::Nothing });
    }
    recovery_codes::delete_all(conn, user).await?;
    record(conn, state, user, client).await?;
    Ok(Forgotten::SecondFactor)
}

impl Forgotten {
    /// Tells the owner, `user`.
    pub async fn tell_owner(
        self,
        conn: &mut AsyncPgConnection,
        state: &AppState,
        user: &User,
        client: &Client,
    ) -> Result<(), DependencyError> {
        match self {
            Self::Nothing => Ok(()),
            Self::RecoveryCodes => {
                let secure_link = notices::secure_link(conn, state, user).await?;
                tell_of_codes(conn, state, user, 0, secure_link, client).await
            }
            Self::SecondFactor => tell_owner(conn, state, user, client).await,
        }
    }
}

async fn record(
    conn: &mut AsyncPgConnection,
    state: &AppState,
    user: UserId,
    client: &Client,
) -> pg::Result<()> {
    let fact = Fact::by_user(user, MfaTotpDisabled {}).from_client(client.clone());
    outbox::append_fact(conn, state.fact(Some(user), fact)).await
}

/// Tells the owner that no second factor is asked for any more.
async fn tell_owner(
    conn: &mut AsyncPgConnection,
    state: &AppState,
    user: &User,
    client: &Client,
) -> Result<(), DependencyError> {
    let parameters = MailParameters::TotpDisabled {
        display_name: user.display_name.clone(),
        secure_link: notices::secure_link(conn, state, user).await?,
        occasion: notices::occasion(state, client),
    };
    notices::send(conn, state, user, &parameters).await
}
