//! Proof, by somebody with a session, that they are still who they were at login (RFC 9470). What protects an account asks for it.

use std::{borrow::Cow, time::Duration};

use auth_events::{Client, Fact, facts::AuthReauthenticated};
use chrono::TimeDelta;
use diesel_async::AsyncConnection;
use pg::AsyncPgConnection;
use service_error::{ErrorKind, ServiceError};
use session_verifier::Session;

use crate::{
    app::{
        attempts,
        dependency::{DependencyError, depends_on_the_outside},
        password_login::{METHOD_PASSWORD, record_lock},
        second_factor::{self, METHOD_OTP, SecondFactorError},
        verify_second_factor::known_device,
    },
    domain::{
        attempts::{KNOWN_DEVICE, NotNow, PASSWORD},
        bearer_secret::DeviceToken,
        plain_password::PlainPassword,
        user::User,
    },
    state::AppState,
    store::{totp_factors, users},
};

/// How long after an authentication nothing more is asked for.
pub const PRIVILEGED_WINDOW: TimeDelta = TimeDelta::minutes(5);

/// What somebody presents.
#[derive(Default)]
pub struct Proof {
    /// The password; without it the session's last authentication must be recent.
    pub password: Option<PlainPassword>,
    /// A code of the authenticator app, where there is one.
    pub otp: Option<String>,
    /// What the browser has from an earlier login.
    pub device: Option<DeviceToken>,
}

/// Why the proof does not do.
#[derive(Debug, thiserror::Error)]
pub enum StepUpError {
    /// The token outlived its account, or the account is closed.
    #[error("the account is gone or closed")]
    Gone,
    /// The session's last authentication is too long ago, and no password was given.
    #[error("the last authentication is too long ago")]
    ReauthRequired,
    /// A password was given, and the code is missing.
    #[error("the code of the second factor is missing")]
    OtpRequired,
    /// The password is wrong.
    #[error("the password is wrong")]
    InvalidCredentials,
    /// There were too many attempts; nothing was compared.
    #[error("there were too many attempts")]
    TooManyAttempts(TimeDelta),
    /// See [`SecondFactorError`].
    #[error(transparent)]
    SecondFactor(#[from] SecondFactorError),
    /// See [`DependencyError`].
    #[error(transparent)]
    Dependency(DependencyError),
}

depends_on_the_outside!(StepUpError);

impl ServiceError for StepUpError {
    fn kind(&self) -> ErrorKind {
        match self {
            Self::Gone | Self::ReauthRequired | Self::OtpRequired | Self::InvalidCredentials => {
                ErrorKind::Unauthenticated
            }
            Self::TooManyAttempts(_) => ErrorKind::TooManyRequests,
            Self::SecondFactor(error) => error.kind(),
            Self::Dependency(error) => error.kind(),
        }
    }

    fn reason(&self) -> &'static str {
        match self {
            Self::Gone => "invalid_token",
            Self::ReauthRequired => "reauth_required",
            Self::OtpRequired => "otp_required",
            Self::InvalidCredentials => "invalid_credentials",
            Self::TooManyAttempts(_) => "too_many_attempts",
            Self::SecondFactor(error) => error.reason(),
            Self::Dependency(error) => error.reason(),
        }
    }

    fn public_detail(&self) -> Cow<'static, str> {
        match self {
            Self::Gone => "The access token is not valid. Log in again.".into(),
            Self::ReauthRequired => "Give your password once more.".into(),
            Self::OtpRequired => "Give a code of your authenticator app too.".into(),
            Self::InvalidCredentials => "The password is incorrect.".into(),
            Self::TooManyAttempts(_) => "There were too many attempts. Wait before you try again.".into(),
            Self::SecondFactor(error) => error.public_detail(),
            Self::Dependency(error) => error.public_detail(),
        }
    }

    fn retry_after(&self) -> Option<Duration> {
        match self {
            Self::TooManyAttempts(wait) => Some(attempts::retry_after(*wait)),
            Self::SecondFactor(error) => error.retry_after(),
            Self::Dependency(error) => error.retry_after(),
            _ => None,
        }
    }
}

/// Whose account it is, once they have proved it for `purpose`: by the password, and a code where there is a second factor; or by having
/// authenticated, as strongly as the account can, within [`PRIVILEGED_WINDOW`].
pub async fn prove(
    state: &AppState,
    caller: &Session,
    proof: Proof,
    purpose: &'static str,
    client: &Client,
) -> Result<User, StepUpError> {
    let mut conn = state.database.connection().await?;
    let user =
        users::find(&mut conn, caller.user_id()).await?.filter(User::is_open).ok_or(StepUpError::Gone)?;
    let has_second_factor = totp_factors::exists(&mut conn, user.id).await?;
    drop(conn);
    let Some(password) = &proof.password else {
        let is_recent = state.clock.now() - caller.authenticated_at() <= PRIVILEGED_WINDOW;
        let is_strong = !has_second_factor || caller.aal() >= 2;
        return if is_recent && is_strong { Ok(user) } else { Err(StepUpError::ReauthRequired) };
    };
    // Asked for before the password is compared: what is missing is no failure.
    let otp = match (has_second_factor, proof.otp.as_deref()) {
        (true, None) => return Err(StepUpError::OtpRequired),
        (true, otp) => otp,
        (false, _) => None,
    };
    check_password(state, &user, password, proof.device.as_ref(), Occasion { caller, purpose, client })
        .await?;
    let mut methods = vec![METHOD_PASSWORD.to_owned()];
    if let Some(otp) = otp {
        second_factor::present_code(state, &user, otp, client).await?;
        methods.push(METHOD_OTP.to_owned());
    }
    let fact = Fact::by_user(user.id, AuthReauthenticated { methods, purpose: purpose.to_owned() });
    record(state, &user, fact, caller, client).await?;
    Ok(user)
}

/// The account of `proved`, locked, if it is still what it was when its owner proved who they are.
pub async fn lock_unchanged(conn: &mut AsyncPgConnection, proved: &User) -> Result<User, StepUpError> {
    let current = users::lock(conn, proved.id).await?.filter(User::is_open).ok_or(StepUpError::Gone)?;
    if current.credential_epoch == proved.credential_epoch {
        Ok(current)
    } else {
        Err(StepUpError::ReauthRequired)
    }
}

/// Who proves themselves, and what for.
#[derive(Clone, Copy)]
struct Occasion<'a> {
    caller: &'a Session,
    purpose: &'static str,
    client: &'a Client,
}

impl Occasion<'_> {
    /// The fact that the password did not do.
    fn failed(self, user: &User, reason: &str) -> Fact<AuthReauthenticated> {
        let detail = AuthReauthenticated {
            methods: vec![METHOD_PASSWORD.to_owned()],
            purpose: self.purpose.to_owned(),
        };
        let fact = Fact::by_user(user.id, detail).failed(reason);
        fact.on("session", self.caller.session_id()).from_client(self.client.clone())
    }
}

/// Compares the password; a failure counts like one of a login.
async fn check_password(
    state: &AppState,
    user: &User,
    password: &PlainPassword,
    device: Option<&DeviceToken>,
    occasion: Occasion<'_>,
) -> Result<(), StepUpError> {
    let (budget, key) = match known_device(state, user, device).await? {
        Some(device) => (&KNOWN_DEVICE, device.id.as_bytes().to_vec()),
        None => (&PASSWORD, attempts::password_key(state, &user.email)),
    };
    // Somebody with a session is no robot: delays do.
    let reserved = match attempts::reserve(state, budget, key, true).await? {
        Ok(reserved) => reserved,
        Err(not_now) => {
            let fact = state.fact(Some(user.id), occasion.failed(user, "too_many_attempts"));
            outbox::append_fact(&mut *state.database.connection().await?, fact).await?;
            state.outbox.wake();
            return Err(StepUpError::TooManyAttempts(match not_now {
                NotNow::Wait(wait) => wait,
                NotNow::CaptchaWanted => TimeDelta::zero(),
            }));
        }
    };
    let outcome = match state.vault.verify(password, Some((user.id, &user.password))).await {
        Ok(outcome) => outcome,
        Err(error) => {
            attempts::give_back(state, &reserved).await?;
            return Err(error.into());
        }
    };
    if outcome.is_same() && !reserved.attempts.is_off(budget) {
        attempts::clear(&mut *state.database.connection().await?, &reserved).await?;
        return Ok(());
    }
    let fact = occasion.failed(user, if outcome.is_same() { "password_off" } else { "wrong_password" });
    let lock = reserved.attempts.just_locked(budget);
    let mut conn = state.database.connection().await?;
    conn.transaction(async |conn| {
        outbox::append_fact(conn, state.fact(Some(user.id), fact)).await?;
        match lock {
            Some(lock) => record_lock(conn, state, Some(user), budget, lock, None, occasion.client).await,
            None => Ok(()),
        }
    })
    .await?;
    state.outbox.wake();
    Err(StepUpError::InvalidCredentials)
}

async fn record(
    state: &AppState,
    user: &User,
    fact: Fact<AuthReauthenticated>,
    caller: &Session,
    client: &Client,
) -> Result<(), StepUpError> {
    let fact = fact.on("session", caller.session_id()).from_client(client.clone());
    let mut conn = state.database.connection().await?;
    outbox::append_fact(&mut conn, state.fact(Some(user.id), fact)).await?;
    state.outbox.wake();
    Ok(())
}
