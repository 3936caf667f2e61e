//! Judges codes of authenticator apps and recovery codes. One counter per user is for both and for every place where a code is asked for; nothing but a
//! good code clears it.

use std::{borrow::Cow, time::Duration};

use auth_events::{
    Client, Fact,
    commands::MailParameters,
    facts::{MfaRecoveryCodeUsed, MfaTotpVerify, SecurityAccountLocked},
};
use auth_ids::UserId;
use chrono::TimeDelta;
use diesel_async::AsyncConnection;
use pg::AsyncPgConnection;
use service_error::{ErrorKind, ServiceError};
use turns::Turn;

use crate::{
    app::{
        attempts::retry_after,
        dependency::{DependencyError, depends_on_the_outside},
        notices,
    },
    domain::{
        attempts::{Attempts, Lock, NotNow, SECOND_FACTOR},
        recovery_code::RecoveryCode,
        totp::TotpSecret,
        user::User,
    },
    state::{AppState, SOURCE},
    store::{self, recovery_codes, totp_factors},
};

/// RFC 8176: a one-time password. That is what a recovery code is, too: a look-up secret, which proves possession like the app does
/// (NIST SP 800-63B-4, section 3.1.2).
pub const METHOD_OTP: &str = "otp";
/// RFC 8176: more than one factor.
pub const METHOD_MFA: &str = "mfa";
/// The level of a password and a second factor.
pub const AAL_MULTI_FACTOR: u32 = 2;
/// The assurance level of a password alone.
pub const AAL_SINGLE_FACTOR: u32 = 1;

const PURPOSE_RECOVERY_CODE: &str = "recovery_code";
const WAIT_SOON: Duration = Duration::from_secs(2);

/// What somebody presents.
pub enum Code {
    /// A code of the authenticator app.
    Totp(String),
    /// A recovery code, if what was given has the form of one.
    Recovery(Option<RecoveryCode>),
}

impl Code {
    /// Where either will do, the form says which it is.
    #[must_use]
    pub fn of_either_kind(text: &str) -> Self {
        match RecoveryCode::parse(text) {
            Some(code) => Self::Recovery(Some(code)),
            None => Self::Totp(text.to_owned()),
        }
    }

    /// The name in answers, facts and metrics.
    fn method(&self) -> &'static str {
        match self {
            Self::Totp(_) => "otp",
            Self::Recovery(_) => "recovery_code",
        }
    }
}

/// Why a code does not do.
#[derive(Debug, thiserror::Error)]
pub enum SecondFactorError {
    /// It is not the account's, was used before, or too many were wrong before.
    #[error("the code is not good")]
    OtpInvalid,
    /// There were too many attempts; nothing was compared.
    #[error("there were too many attempts at the second factor")]
    Locked(Duration),
    /// The stored secret does not open with the data keys of this process, for this user: a key is missing, or somebody exchanged rows.
    #[error("the secret of the second factor of user {0} cannot be opened")]
    Unreadable(UserId),
    /// See [`DependencyError`].
    #[error(transparent)]
    Dependency(DependencyError),
}

depends_on_the_outside!(SecondFactorError);

impl ServiceError for SecondFactorError {
    fn kind(&self) -> ErrorKind {
        match self {
            Self::OtpInvalid => ErrorKind::Malformed,
            Self::Locked(_) => ErrorKind::Locked,
            Self::Unreadable(_) => ErrorKind::Unavailable,
            Self::Dependency(error) => error.kind(),
        }
    }

    fn reason(&self) -> &'static str {
        match self {
            Self::OtpInvalid => "otp_invalid",
            Self::Locked(_) => "second_factor_locked",
            Self::Unreadable(_) => "unavailable",
            Self::Dependency(error) => error.reason(),
        }
    }

    fn public_detail(&self) -> Cow<'static, str> {
        match self {
            Self::OtpInvalid => "Invalid security code.".into(),
            Self::Locked(_) => "There were too many wrong codes. Wait before you try again.".into(),
            Self::Unreadable(_) => self.kind().title().into(),
            Self::Dependency(error) => error.public_detail(),
        }
    }

    fn retry_after(&self) -> Option<Duration> {
        match self {
            Self::OtpInvalid => None,
            Self::Locked(wait) => Some(*wait),
            Self::Unreadable(_) => Some(WAIT_SOON),
            Self::Dependency(error) => error.retry_after(),
        }
    }
}

/// What became of a code.
pub enum Verdict {
    /// It is good, and used up.
    Accepted {
        /// How many recovery codes are left, if it was one.
        recovery_codes_remaining: Option<u32>,
    },
    /// It is not. What that changed, the counter above all, has to be committed.
    Refused(SecondFactorError),
}

/// Checks a code of the authenticator app, or a recovery code, of somebody with a session, and uses it up.
pub async fn present_code(
    state: &AppState,
    user: &User,
    otp: &str,
    client: &Client,
) -> Result<(), SecondFactorError> {
    check(state, user, &Code::of_either_kind(otp), client).await.map(|_| ())
}

/// Checks a code and uses it up; how many recovery codes are left, if it was one.
pub async fn check(
    state: &AppState,
    user: &User,
    code: &Code,
    client: &Client,
) -> Result<Option<u32>, SecondFactorError> {
    let _turn = turn(state, user.id).await;
    let mut conn = state.database.connection().await?;
    let verdict = conn.transaction(async |conn| judge(conn, state, user, code, client).await).await?;
    state.outbox.wake();
    match verdict {
        Verdict::Accepted { recovery_codes_remaining } => Ok(recovery_codes_remaining),
        Verdict::Refused(error) => Err(error),
    }
}

/// Codes of one user wait for each other here, and not each with a connection of the pool. Take it before [`judge`]'s transaction.
pub async fn turn(state: &AppState, user: UserId) -> Turn {
    state.attempt_turns.take((SECOND_FACTOR.scope, user.as_bytes().to_vec())).await
}

/// Reserves an attempt, compares and uses the code up, all in the caller's transaction with the user's counter locked.
pub async fn judge(
    conn: &mut AsyncPgConnection,
    state: &AppState,
    user: &User,
    code: &Code,
    client: &Client,
) -> Result<Verdict, SecondFactorError> {
    let now = state.clock.now();
    let key = user.id.as_bytes().as_slice();
    let tried = store::attempts::lock(conn, &SECOND_FACTOR, key, now).await?;
    let reserved = match tried.reserve(&SECOND_FACTOR, true, now) {
        Ok(reserved) => reserved,
        Err(not_now) => {
            let refusal = Refusal { reason: "second_factor_locked", compared: false };
            record_refusal(conn, state, user, code, refusal, client).await?;
            let wait = if let NotNow::Wait(wait) = not_now { wait } else { TimeDelta::zero() };
            return Ok(Verdict::Refused(SecondFactorError::Locked(retry_after(wait))));
        }
    };
    store::attempts::save(conn, &SECOND_FACTOR, key, &reserved).await?;
    let refusal = match code {
        // So many wrong codes are no accident: from now on only what cannot be guessed will do.
        Code::Totp(_) if reserved.is_off(&SECOND_FACTOR) => Some("totp_off"),
        Code::Totp(otp) => use_totp(conn, state, user, otp).await?,
        Code::Recovery(Some(recovery)) => use_recovery_code(conn, state, user, recovery).await?,
        Code::Recovery(None) => Some("wrong_code"),
    };
    let Some(reason) = refusal else {
        store::attempts::clear(conn, &SECOND_FACTOR, key).await?;
        let recovery_codes_remaining = record_success(conn, state, user, code, client).await?;
        return Ok(Verdict::Accepted { recovery_codes_remaining });
    };
    record_refusal(conn, state, user, code, Refusal { reason, compared: true }, client).await?;
    record_lock(conn, state, user, &reserved, client).await?;
    Ok(Verdict::Refused(SecondFactorError::OtpInvalid))
}

/// Why a code of the authenticator app is refused, if it is.
async fn use_totp(
    conn: &mut AsyncPgConnection,
    state: &AppState,
    user: &User,
    otp: &str,
) -> Result<Option<&'static str>, SecondFactorError> {
    let Some(factor) = totp_factors::find(conn, user.id).await? else { return Ok(Some("no_second_factor")) };
    let secret = open(state, &factor.secret, &factor_binding(user.id), user.id)?;
    let Some(step) = secret.matching_step(otp, state.clock.now()) else { return Ok(Some("wrong_code")) };
    let is_new = totp_factors::use_step(conn, user.id, step).await?;
    Ok((!is_new).then_some("replayed"))
}

/// Why a recovery code is refused, if it is.
async fn use_recovery_code(
    conn: &mut AsyncPgConnection,
    state: &AppState,
    user: &User,
    code: &RecoveryCode,
) -> Result<Option<&'static str>, SecondFactorError> {
    let hash = recovery_code_hash(state, user.id, code);
    let is_new = recovery_codes::use_up(conn, user.id, &hash, state.clock.now()).await?;
    Ok((!is_new).then_some("wrong_code"))
}

/// The keyed hash by which a recovery code is stored and found.
#[must_use]
pub fn recovery_code_hash(state: &AppState, user: UserId, code: &RecoveryCode) -> [u8; 32] {
    let data = [user.as_bytes().as_slice(), code.expose().as_bytes()].concat();
    state.identifier_key.mac(PURPOSE_RECOVERY_CODE, &zeroize::Zeroizing::new(data))
}

/// What binds the sealed secret of a factor to its row.
#[must_use]
pub fn factor_binding(user: UserId) -> Vec<u8> {
    format!("totp_factors/{user}").into_bytes()
}

/// Opens the sealed secret of `user`. One that was sealed for somebody else, or by a key that nobody has, is no secret: the code can be neither right nor
/// wrong, so it is not counted.
pub fn open(
    state: &AppState,
    sealed: &[u8],
    binding: &[u8],
    user: UserId,
) -> Result<TotpSecret, SecondFactorError> {
    let opened = state.data_keys.open(sealed, binding).ok();
    opened.and_then(|bytes| TotpSecret::from_bytes(&bytes)).ok_or_else(|| {
        tracing::error!(user.id = %user, "The secret of the second factor of user {user} cannot be opened");
        SecondFactorError::Unreadable(user)
    })
}

struct Refusal {
    reason: &'static str,
    compared: bool,
}

async fn record_success(
    conn: &mut AsyncPgConnection,
    state: &AppState,
    user: &User,
    code: &Code,
    client: &Client,
) -> Result<Option<u32>, DependencyError> {
    let Code::Recovery(_) = code else {
        let fact = Fact::by_user(user.id, MfaTotpVerify {}).from_client(client.clone());
        outbox::append_fact(conn, state.fact(Some(user.id), fact)).await?;
        return Ok(None);
    };
    let remaining = recovery_codes::remaining(conn, user.id).await?;
    let fact = Fact::by_user(user.id, MfaRecoveryCodeUsed { remaining }).from_client(client.clone());
    outbox::append_fact(conn, state.fact(Some(user.id), fact)).await?;
    let parameters = MailParameters::RecoveryCodeUsed {
        display_name: user.display_name.clone(),
        secure_link: notices::secure_link(conn, state, user).await?,
        occasion: notices::occasion(state, client),
        remaining,
    };
    notices::send(conn, state, user, &parameters).await?;
    Ok(Some(remaining))
}

async fn record_refusal(
    conn: &mut AsyncPgConnection,
    state: &AppState,
    user: &User,
    code: &Code,
    Refusal { reason, compared }: Refusal,
    client: &Client,
) -> Result<(), DependencyError> {
    state.metrics.totp_failure.with_label_values(&[code.method()]).inc();
    match code {
        Code::Totp(_) => {
            let fact = Fact::by_anonymous(MfaTotpVerify {}).from_client(client.clone());
            let fact = if compared { fact.failed(reason) } else { fact.denied(reason) };
            outbox::append_fact(conn, state.fact(Some(user.id), fact)).await?;
        }
        Code::Recovery(_) => {
            let remaining = recovery_codes::remaining(conn, user.id).await?;
            let fact = Fact::by_anonymous(MfaRecoveryCodeUsed { remaining }).from_client(client.clone());
            let fact = if compared { fact.failed(reason) } else { fact.denied(reason) };
            outbox::append_fact(conn, state.fact(Some(user.id), fact)).await?;
        }
    }
    Ok(())
}

/// Says so if this was the failure that locks the factor.
async fn record_lock(
    conn: &mut AsyncPgConnection,
    state: &AppState,
    user: &User,
    reserved: &Attempts,
    client: &Client,
) -> Result<(), DependencyError> {
    let Some(lock) = reserved.just_locked(&SECOND_FACTOR) else { return Ok(()) };
    state.metrics.account_lockouts.with_label_values(&[SECOND_FACTOR.scope]).inc();
    let until = match lock {
        Lock::Until(until) => Some(until),
        Lock::UntilReset => None,
    };
    let detail =
        SecurityAccountLocked { factor: SECOND_FACTOR.scope.to_owned(), until, identifier_hash: None };
    let fact = Fact::by_service(SOURCE, detail).from_client(client.clone());
    Ok(outbox::append_fact(conn, state.fact(Some(user.id), fact)).await?)
}
