//! Registers an address. Whoever asks learns nothing about whether it has an account.

use std::{borrow::Cow, time::Duration};

use auth_events::{
    Client, Fact,
    commands::{Lane, Locale, MailParameters},
    facts::{UserRegisterAttemptExisting, UserRegistered},
};
use auth_ids::OneTimeTokenId;
use chrono::{DateTime, TimeDelta, Utc};
use pg::AsyncPgConnection;
use service_error::{ErrorKind, ServiceError};

use crate::{
    app::{
        captcha,
        deferred::{DeferredRegistration, DeferredRequest, defer},
        dependency::{DependencyError, depends_on_the_outside},
        mail_allowance, outgoing_mail,
    },
    clients::captcha::CaptchaAction,
    domain::{
        bearer_secret::{OneTimeToken, RegistrationHandle},
        display_name::DisplayName,
        email_address::EmailAddress,
        permission,
        plain_password::PlainPassword,
        user::{User, UserStatus},
    },
    password::FreshHash,
    state::AppState,
    store::{
        email_changes,
        one_time_tokens::{self, NewToken, Purpose},
        users::{self, NewUser},
    },
};

/// How long the link in the mail works.
const VERIFICATION_HOURS: u32 = 24;
/// After this nobody wants to read that somebody tried to register.
const NOTICE_LIFETIME: TimeDelta = TimeDelta::hours(24);

/// What somebody asks for.
pub struct Registration {
    /// The address.
    pub email: EmailAddress,
    /// The password, should the address prove to be theirs.
    pub password: PlainPassword,
    /// The captcha's answer.
    pub captcha_token: Option<String>,
    /// How to greet them.
    pub display_name: Option<DisplayName>,
    /// The language of the mail.
    pub locale: Locale,
}

/// Why a registration is not taken.
#[derive(Debug, thiserror::Error)]
pub enum RegisterError {
    /// Nobody can register here.
    #[error("registration is switched off")]
    Disabled,
    /// See [`DependencyError`].
    #[error(transparent)]
    Dependency(DependencyError),
}

depends_on_the_outside!(RegisterError);

impl ServiceError for RegisterError {
    fn kind(&self) -> ErrorKind {
        match self {
            Self::Disabled => ErrorKind::Forbidden,
            Self::Dependency(error) => error.kind(),
        }
    }

    fn reason(&self) -> &'static str {
        match self {
            Self::Disabled => "registration_disabled",
            Self::Dependency(error) => error.reason(),
        }
    }

    fn public_detail(&self) -> Cow<'static, str> {
        match self {
            Self::Disabled => "Nobody can register here by themselves.".into(),
            Self::Dependency(error) => error.public_detail(),
        }
    }

    fn retry_after(&self) -> Option<Duration> {
        match self {
            Self::Disabled => None,
            Self::Dependency(error) => error.retry_after(),
        }
    }

    fn captcha_required(&self) -> bool {
        matches!(self, Self::Dependency(error) if error.captcha_required())
    }
}

/// Takes a registration: one captcha, one hash and one statement, whatever is known of the address. The handle proves later that the same browser
/// opened the link; for an address that has an account it proves nothing.
pub async fn register(
    state: &AppState,
    registration: Registration,
    client: &Client,
) -> Result<RegistrationHandle, RegisterError> {
    if !state.registration_open {
        return Err(RegisterError::Disabled);
    }
    captcha::demand(state, registration.captcha_token.as_deref(), CaptchaAction::Register, client).await?;
    let hash = state.vault.hash(&registration.password).await?;
    let handle = RegistrationHandle::generate(&mut clock::secure_rng());
    let request = DeferredRequest::Register(DeferredRegistration {
        email: registration.email.as_str().to_owned(),
        password: hash.into_phc(),
        handle_hash: handle.hash().as_bytes().to_vec(),
        display_name: registration.display_name.map(|name| name.as_str().to_owned()),
        locale: registration.locale,
    });
    defer(state, request, client).await?;
    Ok(handle)
}

/// Does what [`register`] took, in the transaction of whoever calls. An address that an account can still be given back to gets no other one.
pub async fn handle(
    conn: &mut AsyncPgConnection,
    state: &AppState,
    email: &EmailAddress,
    registration: &DeferredRegistration,
    client: &Client,
) -> Result<(), DependencyError> {
    let now = state.clock.now();
    let display_name = registration.display_name.as_deref();
    let id = auth_ids::generate(&*state.clock, &mut clock::secure_rng());
    let hash = FreshHash::from_phc(registration.password.clone());
    let sealed = state.vault.seal(&hash, id);
    let new_user = NewUser {
        id,
        email,
        status: UserStatus::Unverified,
        display_name,
        locale: registration.locale,
        roles: &[permission::USER],
        password: &sealed,
        registration_handle_hash: Some(&registration.handle_hash),
        now,
    };
    let is_new = users::insert_if_absent(conn, new_user).await?;
    let user = users::lock_by_email(conn, email).await?;
    let mut user = user.ok_or(pg::Error::from(diesel::result::Error::NotFound))?;
    if user.status != UserStatus::Unverified {
        return notify_owner(conn, state, &user, client, now).await;
    }
    // Looked at once the address is taken: a change that leaves it at the same time is committed by then.
    if email_changes::is_reserved(conn, email, user.id, now).await? {
        users::delete_unverified(conn, email).await?;
        let fact = Fact::by_anonymous(UserRegisterAttemptExisting { owner_notified: false });
        let fact = fact.denied("email_reserved").from_client(client.clone());
        return Ok(outbox::append_fact(conn, state.fact(None, fact)).await?);
    }
    if !is_new {
        let sealed = state.vault.seal(&hash, user.id);
        let (handle, locale) = (&registration.handle_hash, registration.locale);
        users::replace_registration(conn, user.id, &sealed, handle, display_name, locale, now).await?;
        user.locale = locale;
        user.display_name = display_name.map(str::to_owned);
    }
    send_verification(conn, state, &user).await?;
    let fact = Fact::by_anonymous(UserRegistered { locale: user.locale.tag().to_owned() });
    Ok(outbox::append_fact(conn, state.fact(Some(user.id), fact.from_client(client.clone()))).await?)
}

/// Sends an unverified account the link that opens it, unless its address was sent too many mails; says whether it did.
pub async fn send_verification(
    conn: &mut AsyncPgConnection,
    state: &AppState,
    user: &User,
) -> Result<bool, DependencyError> {
    if !mail_allowance::take(conn, state, &user.email).await? {
        return Ok(false);
    }
    let now = state.clock.now();
    let token = OneTimeToken::generate(&mut clock::secure_rng());
    let id: OneTimeTokenId = auth_ids::generate(&*state.clock, &mut clock::secure_rng());
    let expires_at = now + TimeDelta::hours(i64::from(VERIFICATION_HOURS));
    let (user_id, purpose) = (user.id, Purpose::VerifyEmail);
    one_time_tokens::issue(conn, NewToken { id, user_id, purpose, hash: &token.hash(), now, expires_at })
        .await?;
    let parameters = MailParameters::VerifyEmail {
        display_name: user.display_name.clone(),
        link: state.addresses.verify_email_link(&token),
        expires_in_hours: VERIFICATION_HOURS,
    };
    let command = outgoing_mail::command(state, user, &parameters, Lane::Security, expires_at)?;
    outbox::append_mail(conn, command).await?;
    Ok(true)
}

/// The address has an account: its owner hears of the attempt, at most once a day.
async fn notify_owner(
    conn: &mut AsyncPgConnection,
    state: &AppState,
    user: &User,
    client: &Client,
    now: DateTime<Utc>,
) -> Result<(), DependencyError> {
    let owner_notified =
        user.is_registration_notice_due(now) && mail_allowance::take(conn, state, &user.email).await?;
    if owner_notified {
        users::note_registration_notice(conn, user.id, now).await?;
        let parameters = MailParameters::AlreadyRegistered {
            display_name: user.display_name.clone(),
            login_link: state.addresses.login_link(),
            reset_link: state.addresses.forgot_password_link(),
        };
        let command = outgoing_mail::command(state, user, &parameters, Lane::Notice, now + NOTICE_LIFETIME)?;
        outbox::append_mail(conn, command).await?;
    }
    let fact = Fact::by_anonymous(UserRegisterAttemptExisting { owner_notified });
    let fact = fact.denied("email_already_registered").from_client(client.clone());
    Ok(outbox::append_fact(conn, state.fact(Some(user.id), fact)).await?)
}
