//! Sends a link that sets a new password. Whoever asks learns nothing about the address.

use auth_events::{
    Client, Fact,
    commands::{Lane, MailParameters},
    facts::UserPasswordResetRequested,
};
use chrono::TimeDelta;
use pg::AsyncPgConnection;

use crate::{
    app::{
        captcha,
        deferred::{DeferredRequest, defer},
        dependency::DependencyError,
        mail_allowance, outgoing_mail,
        register::send_verification,
    },
    clients::captcha::CaptchaAction,
    domain::{
        bearer_secret::OneTimeToken,
        email_address::EmailAddress,
        user::{User, UserStatus},
    },
    state::AppState,
    store::{
        one_time_tokens::{self, NewToken, Purpose},
        users,
    },
};

/// How long the link works.
const RESET_MINUTES: u32 = 30;

/// Takes the request: one captcha and one statement, whatever is known of the address.
pub async fn forgot_password(
    state: &AppState,
    email: &EmailAddress,
    captcha_token: Option<&str>,
    client: &Client,
) -> Result<(), DependencyError> {
    captcha::demand(state, captcha_token, CaptchaAction::Forgot, client).await?;
    defer(state, DeferredRequest::ForgotPassword { email: email.as_str().to_owned() }, client).await
}

/// Does what [`forgot_password`] took, in the transaction of whoever calls. An address that is not proved yet gets the mail that proves it; that sets a password too.
pub async fn handle(
    conn: &mut AsyncPgConnection,
    state: &AppState,
    email: &EmailAddress,
    client: &Client,
) -> Result<(), DependencyError> {
    let Some(user) = users::lock_by_email(conn, email).await? else { return Ok(()) };
    let mail_sent = match user.status {
        UserStatus::Unverified => send_verification(conn, state, &user).await?,
        UserStatus::Active => {
            mail_allowance::take(conn, state, email).await?
                && send_link(conn, state, &user).await.map(|()| true)?
        }
        UserStatus::Suspended | UserStatus::PendingDeletion => false,
    };
    let fact = Fact::by_anonymous(UserPasswordResetRequested { mail_sent }).from_client(client.clone());
    Ok(outbox::append_fact(conn, state.fact(Some(user.id), fact)).await?)
}

/// Sends the link to the user's address, in place of any earlier one.
pub async fn send_link(
    conn: &mut AsyncPgConnection,
    state: &AppState,
    user: &User,
) -> Result<(), DependencyError> {
    let now = state.clock.now();
    let token = OneTimeToken::generate(&mut clock::secure_rng());
    let expires_at = now + TimeDelta::minutes(i64::from(RESET_MINUTES));
    let new = NewToken {
        id: auth_ids::generate(&*state.clock, &mut clock::secure_rng()),
        user_id: user.id,
        purpose: Purpose::ResetPassword,
        hash: &token.hash(),
        now,
        expires_at,
    };
    one_time_tokens::issue(conn, new).await?;
    let parameters = MailParameters::ResetPassword {
        display_name: user.display_name.clone(),
        link: state.addresses.reset_password_link(&token),
        expires_in_minutes: RESET_MINUTES,
    };
    let command = outgoing_mail::command(state, user, &parameters, Lane::Security, expires_at)?;
    Ok(outbox::append_mail(conn, command).await?)
}
