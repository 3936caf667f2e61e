//! Checks address and password: one look-up, one reservation, one hash and one audit event on every branch.

use std::{borrow::Cow, time::Duration};

use auth_events::{
    Client, Fact,
    commands::MailParameters,
    facts::{AuthLogin, SecurityAccountLocked},
};
use chrono::TimeDelta;
use diesel_async::AsyncConnection;
use pg::AsyncPgConnection;
use service_error::{ErrorKind, ServiceError};

use crate::{
    app::{
        attempts::{self, Reserved},
        captcha,
        dependency::{DependencyError, depends_on_the_outside},
        notices,
        rehash::rehash_if_stale,
    },
    clients::captcha::{CaptchaAction, CaptchaError},
    domain::{
        attempts::{Budget, KNOWN_DEVICE, Lock, NotNow, PASSWORD},
        bearer_secret::DeviceToken,
        email_address::EmailAddress,
        plain_password::PlainPassword,
        user::{User, UserStatus},
    },
    password::Admission,
    state::AppState,
    store::{
        self,
        known_devices::{self, KnownDevice},
        users,
    },
};

/// RFC 8176: a password.
pub const METHOD_PASSWORD: &str = "pwd";
/// The factor's name in facts.
const FACTOR_PASSWORD: &str = "password";

/// What somebody presents.
pub struct PasswordLogin {
    /// The address.
    pub email: EmailAddress,
    /// The password.
    pub password: PlainPassword,
    /// The captcha's answer, where one is wanted.
    pub captcha_token: Option<String>,
    /// What the browser has from an earlier login.
    pub device: Option<DeviceToken>,
}

/// Somebody whose password is right and whose account is open.
pub struct PasswordAuthenticated {
    /// The account.
    pub user: User,
    /// The browser, if it logged in to this account before.
    pub device: Option<KnownDevice>,
}

/// Why nobody was logged in.
#[derive(Debug, thiserror::Error)]
pub enum LoginError {
    /// No such account, another password, or an account that is closed: all one to whoever asks.
    #[error("the credentials are not good: {reason}")]
    InvalidCredentials {
        /// For operators.
        reason: &'static str,
        /// Whether the next attempt needs a captcha.
        captcha_wanted: bool,
    },
    /// The password is right, the address not proved.
    #[error("the address is not verified")]
    EmailUnverified,
    /// There were too many attempts; nothing was compared.
    #[error("there were too many attempts")]
    TooManyAttempts(TimeDelta),
    /// See [`DependencyError`].
    #[error(transparent)]
    Dependency(DependencyError),
}

depends_on_the_outside!(LoginError);

impl LoginError {
    /// An account that was closed, or whose password was changed, while somebody logged in.
    #[must_use]
    pub fn closed() -> Self {
        Self::InvalidCredentials { reason: "account_closed", captcha_wanted: false }
    }
}

impl ServiceError for LoginError {
    fn kind(&self) -> ErrorKind {
        match self {
            Self::InvalidCredentials { .. } => ErrorKind::Unauthenticated,
            Self::EmailUnverified => ErrorKind::Forbidden,
            Self::TooManyAttempts(_) => ErrorKind::TooManyRequests,
            Self::Dependency(error) => error.kind(),
        }
    }

    fn reason(&self) -> &'static str {
        match self {
            Self::InvalidCredentials { .. } => "invalid_credentials",
            Self::EmailUnverified => "email_unverified",
            Self::TooManyAttempts(_) => "too_many_attempts",
            Self::Dependency(error) => error.reason(),
        }
    }

    fn public_detail(&self) -> Cow<'static, str> {
        match self {
            Self::InvalidCredentials { .. } => "Email or password is incorrect.".into(),
            Self::EmailUnverified => "Open the link in the mail that we sent to you first.".into(),
            Self::TooManyAttempts(_) => "There were too many attempts. Wait before you try again.".into(),
            Self::Dependency(error) => error.public_detail(),
        }
    }

    fn retry_after(&self) -> Option<Duration> {
        match self {
            Self::TooManyAttempts(wait) => Some(attempts::retry_after(*wait)),
            Self::Dependency(error) => error.retry_after(),
            Self::InvalidCredentials { .. } | Self::EmailUnverified => None,
        }
    }

    fn captcha_required(&self) -> bool {
        match self {
            Self::InvalidCredentials { captcha_wanted, .. } => *captcha_wanted,
            Self::Dependency(error) => error.captcha_required(),
            Self::EmailUnverified | Self::TooManyAttempts(_) => false,
        }
    }
}

/// Whose password it is, if it is right and the account open.
pub async fn authenticate(
    state: &AppState,
    login: &PasswordLogin,
    client: &Client,
) -> Result<PasswordAuthenticated, LoginError> {
    let mut admission = Some(state.vault.admit().await?);
    let (user, device) = look_up(state, login).await?;
    let reserved = match reserve(state, login, device, client, &mut admission).await? {
        Ok(reserved) => reserved,
        Err(NotNow::CaptchaWanted) => return Err(CaptchaError::Required.into()),
        Err(NotNow::Wait(wait)) => {
            let reason = "too_many_attempts";
            record_failure(state, user.as_ref(), &login.email, reason, None, client).await?;
            return Err(LoginError::TooManyAttempts(wait));
        }
    };
    let stored = user.as_ref().map(|user| (user.id, user.password.as_slice()));
    let outcome = match state.vault.verify(&login.password, stored).await {
        Ok(outcome) => outcome,
        Err(error) => {
            attempts::give_back(state, &reserved).await?;
            return Err(error.into());
        }
    };
    let is_off = reserved.attempts.is_off(reserved.budget);
    match user {
        Some(user) if outcome.is_same() && user.is_open() && !is_off => {
            attempts::clear(&mut *state.database.connection().await?, &reserved).await?;
            drop(reserved);
            rehash_if_stale(state, user.id, &user.password, &login.password, outcome).await;
            Ok(PasswordAuthenticated { user, device })
        }
        user => {
            let (reason, error) = why_refused(user.as_ref(), outcome.is_same(), is_off, &reserved, state);
            record_failure(state, user.as_ref(), &login.email, reason, Some(&reserved), client).await?;
            Err(error)
        }
    }
}

/// The account of the address, and the browser if it logged in to that account before.
async fn look_up(
    state: &AppState,
    login: &PasswordLogin,
) -> Result<(Option<User>, Option<KnownDevice>), LoginError> {
    let mut conn = state.database.connection().await?;
    let user = users::find_by_email(&mut conn, &login.email).await?;
    if user.is_none() {
        // Reading an account parses its address; where there is none the same work is done for nothing.
        std::hint::black_box(EmailAddress::parse(login.email.as_str()).is_ok());
    }
    let device = match &login.device {
        Some(token) => known_devices::find(&mut conn, &token.hash(), state.clock.now()).await?,
        None => None,
    };
    let is_users = |device: &KnownDevice| user.as_ref().is_some_and(|user| user.id == device.user_id);
    let device = device.filter(is_users);
    Ok((user, device))
}

/// Reserves the attempt against the browser's own budget if it is known and has one left, or against the address's.
async fn reserve(
    state: &AppState,
    login: &PasswordLogin,
    device: Option<KnownDevice>,
    client: &Client,
    admission: &mut Option<Admission>,
) -> Result<Result<Reserved, NotNow>, LoginError> {
    if let Some(device) = device {
        let key = device.id.as_bytes().to_vec();
        if let Ok(reserved) = attempts::reserve(state, &KNOWN_DEVICE, key, true).await? {
            return Ok(Ok(reserved));
        }
    }
    let key = attempts::password_key(state, &login.email);
    let captcha_passed = pass_captcha(state, login, &key, client, admission).await?;
    Ok(attempts::reserve(state, &PASSWORD, key, captcha_passed).await?)
}

/// Whether the attempt may be made as far as the captcha goes: none is wanted, it was passed, or nobody can check it and delays have to do.
async fn pass_captcha(
    state: &AppState,
    login: &PasswordLogin,
    key: &[u8],
    client: &Client,
    admission: &mut Option<Admission>,
) -> Result<bool, LoginError> {
    if !state.captcha.is_on() {
        return Ok(true);
    }
    let now = state.clock.now();
    let mut conn = state.database.connection().await?;
    let tried = store::attempts::find(&mut conn, &PASSWORD, key, now).await?;
    drop(conn);
    // Who has to wait anyway need not solve anything for that.
    if !tried.wants_captcha(&PASSWORD) || tried.pauses(now) {
        return Ok(false);
    }
    // Whoever waits for the provider keeps nobody from hashing.
    drop(admission.take());
    let checked = captcha::check(state, login.captcha_token.as_deref(), CaptchaAction::Login, client).await;
    match checked {
        Ok(()) | Err(DependencyError::Captcha(CaptchaError::Unavailable(_))) => {}
        Err(error) => return Err(LoginError::Dependency(error)),
    }
    *admission = Some(state.vault.admit().await?);
    Ok(true)
}

fn why_refused(
    user: Option<&User>,
    matches: bool,
    is_off: bool,
    reserved: &Reserved,
    state: &AppState,
) -> (&'static str, LoginError) {
    let captcha_wanted = state.captcha.is_on() && reserved.attempts.wants_captcha(reserved.budget);
    let reason = match user {
        None => "unknown_account",
        Some(_) if !matches => "wrong_password",
        Some(_) if is_off => "password_off",
        Some(user) => match user.status {
            UserStatus::Unverified => return ("email_unverified", LoginError::EmailUnverified),
            UserStatus::Active => "password_off",
            UserStatus::Suspended | UserStatus::PendingDeletion => "account_closed",
        },
    };
    (reason, LoginError::InvalidCredentials { reason, captcha_wanted })
}

/// Audits a login that is refused, and the lock if this was the failure that locks.
async fn record_failure(
    state: &AppState,
    user: Option<&User>,
    email: &EmailAddress,
    reason: &'static str,
    reserved: Option<&Reserved>,
    client: &Client,
) -> Result<(), LoginError> {
    state.metrics.login_failure.with_label_values(&[reason]).inc();
    let identifier_hash = user.is_none().then(|| state.identifier_key.hash(email));
    let detail =
        AuthLogin { methods: vec![METHOD_PASSWORD.to_owned()], identifier_hash: identifier_hash.clone() };
    let fact = Fact::by_anonymous(detail).failed(reason).from_client(client.clone());
    let fact = state.fact(user.map(|user| user.id), fact);
    let mut conn = state.database.connection().await?;
    let lock = reserved
        .and_then(|reserved| Some((reserved.budget, reserved.attempts.just_locked(reserved.budget)?)));
    match lock {
        None => outbox::append_fact(&mut conn, fact).await?,
        Some((budget, lock)) => {
            conn.transaction(async |conn| {
                outbox::append_fact(conn, fact).await?;
                record_lock(conn, state, user, budget, lock, identifier_hash, client).await
            })
            .await?;
        }
    }
    state.outbox.wake();
    Ok(())
}

/// Audits and counts a lock by password attempts; the owner hears of one that only a reset ends.
pub(super) async fn record_lock(
    conn: &mut AsyncPgConnection,
    state: &AppState,
    user: Option<&User>,
    budget: &Budget,
    lock: Lock,
    identifier_hash: Option<String>,
    client: &Client,
) -> Result<(), DependencyError> {
    state.metrics.account_lockouts.with_label_values(&[budget.scope]).inc();
    let until = match lock {
        Lock::Until(until) => Some(until),
        Lock::UntilReset => None,
    };
    let detail = SecurityAccountLocked { factor: FACTOR_PASSWORD.to_owned(), until, identifier_hash };
    let fact = Fact::by_service(crate::state::SOURCE, detail).from_client(client.clone());
    outbox::append_fact(conn, state.fact(user.map(|user| user.id), fact)).await?;
    if let (Some(user), Lock::UntilReset) = (user.filter(|user| user.is_open()), lock) {
        let parameters = MailParameters::AccountLocked {
            display_name: user.display_name.clone(),
            reset_link: state.addresses.forgot_password_link(),
            occurred_at: state.clock.now(),
        };
        notices::send(conn, state, user, &parameters).await?;
    }
    Ok(())
}
