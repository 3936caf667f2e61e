//! Registers an address. Whoever asks learns nothing about whether it has an account.

use auth_events::{
    Client, Fact,
    commands::{Lane, Locale, MailParameters},
    facts::{AuthCaptcha, UserRegisterAttemptExisting, UserRegistered},
};
use auth_ids::OneTimeTokenId;
use chrono::{DateTime, TimeDelta, Utc};
use diesel_async::AsyncConnection;
use pg::AsyncPgConnection;

use crate::{
    app::{dependency::DependencyError, outgoing_mail},
    clients::captcha::CaptchaError,
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

/// Takes a registration: one captcha, one hash and one transaction, whatever is known of the address. The handle proves later that the same
/// browser opened the link; for an address that has an account it proves nothing.
pub async fn register(
    state: &AppState,
    registration: Registration,
    client: &Client,
) -> Result<RegistrationHandle, DependencyError> {
    check_captcha(state, registration.captcha_token.as_deref(), client).await?;
    let hash = state.vault.hash(&registration.password).await?;
    let handle = RegistrationHandle::generate(&mut clock::secure_rng());
    let mut conn = state.database.connection().await?;
    conn.transaction(async |conn| store(conn, state, &registration, &hash, &handle, client).await).await?;
    state.outbox.wake();
    Ok(handle)
}

async fn check_captcha(
    state: &AppState,
    token: Option<&str>,
    client: &Client,
) -> Result<(), DependencyError> {
    let outcome = state.captcha.verify(token, client.ip).await;
    let label = match &outcome {
        Ok(()) => "passed",
        Err(CaptchaError::Required) => "missing",
        Err(CaptchaError::Invalid(_)) => "refused",
        Err(CaptchaError::Unavailable(_)) => "unavailable",
    };
    state.metrics.captcha_challenges.with_label_values(&[label]).inc();
    if let Err(CaptchaError::Invalid(codes)) = &outcome {
        let fact = Fact::by_anonymous(AuthCaptcha { action: "register".to_owned() }).denied(codes);
        let mut conn = state.database.connection().await?;
        outbox::append_fact(&mut conn, state.fact(None, fact.from_client(client.clone()))).await?;
        state.outbox.wake();
    }
    Ok(outcome?)
}

async fn store(
    conn: &mut AsyncPgConnection,
    state: &AppState,
    registration: &Registration,
    hash: &FreshHash,
    handle: &RegistrationHandle,
    client: &Client,
) -> Result<(), DependencyError> {
    let now = state.clock.now();
    let display_name = registration.display_name.as_ref().map(DisplayName::as_str);
    let (id, handle_hash) = (auth_ids::generate(&*state.clock, &mut clock::secure_rng()), handle.hash());
    let sealed = state.vault.seal(hash, id);
    let new_user = NewUser {
        id,
        email: &registration.email,
        status: UserStatus::Unverified,
        display_name,
        locale: registration.locale,
        roles: &[permission::USER],
        password: &sealed,
        registration_handle_hash: Some(handle_hash.as_bytes()),
        now,
    };
    let is_new = users::insert_if_absent(conn, new_user).await?;
    let user = users::lock_by_email(conn, &registration.email).await?;
    let mut user = user.ok_or(pg::Error::from(diesel::result::Error::NotFound))?;
    if user.status != UserStatus::Unverified {
        return notify_owner(conn, state, &user, client, now).await;
    }
    if !is_new {
        let sealed = state.vault.seal(hash, user.id);
        let (handle, locale) = (handle_hash.as_bytes(), registration.locale);
        users::replace_registration(conn, user.id, &sealed, handle, display_name, locale, now).await?;
        user.locale = locale;
        user.display_name = display_name.map(str::to_owned);
    }
    send_verification(conn, state, &user, now).await?;
    let fact = Fact::by_anonymous(UserRegistered { locale: user.locale.tag().to_owned() });
    Ok(outbox::append_fact(conn, state.fact(Some(user.id), fact.from_client(client.clone()))).await?)
}

async fn send_verification(
    conn: &mut AsyncPgConnection,
    state: &AppState,
    user: &User,
    now: DateTime<Utc>,
) -> Result<(), DependencyError> {
    let token = OneTimeToken::generate(&mut clock::secure_rng());
    let id: OneTimeTokenId = auth_ids::generate(&*state.clock, &mut clock::secure_rng());
    let expires_at = now + TimeDelta::hours(i64::from(VERIFICATION_HOURS));
    let (user_id, purpose) = (user.id, Purpose::VerifyEmail);
    one_time_tokens::replace(conn, NewToken { id, user_id, purpose, hash: &token.hash(), now, expires_at })
        .await?;
    let parameters = MailParameters::VerifyEmail {
        display_name: user.display_name.clone(),
        link: state.addresses.verify_email_link(&token),
        expires_in_hours: VERIFICATION_HOURS,
    };
    let command = outgoing_mail::command(state, user, &parameters, Lane::Security, expires_at)?;
    Ok(outbox::append_mail(conn, command).await?)
}

/// The address has an account: its owner hears of the attempt, at most once a day.
async fn notify_owner(
    conn: &mut AsyncPgConnection,
    state: &AppState,
    user: &User,
    client: &Client,
    now: DateTime<Utc>,
) -> Result<(), DependencyError> {
    let owner_notified = user.is_registration_notice_due(now);
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
