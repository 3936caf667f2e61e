//! Makes a new address the account's, with the token of the mail that was sent to it.

use std::{borrow::Cow, time::Duration};

use auth_events::{Client, Fact, commands::MailParameters, facts::UserEmailChanged};
use chrono::TimeDelta;
use diesel_async::AsyncConnection;
use pg::AsyncPgConnection;
use service_error::{ErrorKind, ServiceError};

use crate::{
    app::{
        attempts::password_key,
        dependency::{DependencyError, depends_on_the_outside},
        notices,
    },
    domain::{
        attempts::PASSWORD,
        bearer_secret::OneTimeToken,
        email_address::EmailAddress,
        user::{User, UserStatus},
    },
    state::AppState,
    store::{
        attempts,
        email_changes::{self, EmailChange},
        one_time_tokens::{self, Purpose},
        users,
    },
};

/// How long the old address can take the account back.
const UNDO_LIFETIME: TimeDelta = TimeDelta::hours(72);

/// Why the link of a mail changes no address.
#[derive(Debug, thiserror::Error)]
pub enum EmailLinkError {
    /// The token is not known, was used, has expired or was replaced by a newer one, or the account is closed.
    #[error("the token is not good")]
    TokenInvalid,
    /// Another account has the address by now, or can still be given back to it; told only to whoever holds the token.
    #[error("another account has the address")]
    Taken,
    /// See [`DependencyError`].
    #[error(transparent)]
    Dependency(DependencyError),
}

depends_on_the_outside!(EmailLinkError);

impl ServiceError for EmailLinkError {
    fn kind(&self) -> ErrorKind {
        match self {
            Self::TokenInvalid => ErrorKind::Malformed,
            Self::Taken => ErrorKind::Conflict,
            Self::Dependency(error) => error.kind(),
        }
    }

    fn reason(&self) -> &'static str {
        match self {
            Self::TokenInvalid => "token_invalid",
            Self::Taken => "email_taken",
            Self::Dependency(error) => error.reason(),
        }
    }

    fn public_detail(&self) -> Cow<'static, str> {
        match self {
            Self::TokenInvalid => "The link is not valid any more.".into(),
            Self::Taken => "Another account has this address.".into(),
            Self::Dependency(error) => error.public_detail(),
        }
    }

    fn retry_after(&self) -> Option<Duration> {
        match self {
            Self::TokenInvalid | Self::Taken => None,
            Self::Dependency(error) => error.retry_after(),
        }
    }
}

/// Changes the address. Links that were sent to the old one to set a password are worth nothing any more; a link that undoes the change is sent to it.
/// Of any number of attempts with one token exactly one succeeds.
pub async fn confirm_email_change(
    state: &AppState,
    token: Option<OneTimeToken>,
    client: &Client,
) -> Result<(), EmailLinkError> {
    let token = token.ok_or(EmailLinkError::TokenInvalid)?.hash();
    let mut conn = state.database.connection().await?;
    let change = email_changes::find_pending(&mut conn, &token, state.clock.now()).await?;
    let change = change.ok_or(EmailLinkError::TokenInvalid)?;
    conn.transaction(async |conn| {
        let user = users::lock(conn, change.user_id).await?.filter(User::is_open);
        let user = user.ok_or(EmailLinkError::TokenInvalid)?;
        let undo = OneTimeToken::generate(&mut clock::secure_rng());
        let now = state.clock.now();
        let is_ours = user.email == change.old_email
            && email_changes::confirm(conn, &change, &undo.hash(), now, now + UNDO_LIFETIME).await?;
        if !is_ours {
            return Err(EmailLinkError::TokenInvalid);
        }
        move_to(conn, state, &user, &change.new_email).await?;
        // Looked at once the address is taken: a change that leaves it at the same time is committed by then.
        if email_changes::is_reserved(conn, &change.new_email, user.id, now).await? {
            return Err(EmailLinkError::Taken);
        }
        // Whoever guessed at the address before it was this account's must not have locked its owner out.
        attempts::clear(conn, &PASSWORD, &password_key(state, &change.new_email)).await?;
        tell_old_address(conn, state, &user, &change, &undo).await?;
        let fact = Fact::by_user(user.id, UserEmailChanged {}).from_client(client.clone());
        Ok(outbox::append_fact(conn, state.fact(Some(user.id), fact)).await?)
    })
    .await?;
    state.accounts.forget(change.user_id);
    state.outbox.wake();
    Ok(())
}

/// Makes `email` the address of the account, unless another account that is more than a registration has it.
pub async fn move_to(
    conn: &mut AsyncPgConnection,
    state: &AppState,
    user: &User,
    email: &EmailAddress,
) -> Result<(), EmailLinkError> {
    let other = users::find_by_email(conn, email).await?.filter(|other| other.id != user.id);
    if other.is_some_and(|other| other.status != UserStatus::Unverified) {
        return Err(EmailLinkError::Taken);
    }
    // Nobody proved that registration; whoever holds the token has just proved the address.
    users::delete_unverified(conn, email).await?;
    let moved = users::set_email(conn, user.id, email, state.clock.now()).await;
    moved.map_err(
        |error| if error.violates(users::EMAIL_KEY) { EmailLinkError::Taken } else { error.into() },
    )?;
    Ok(one_time_tokens::forget_unused(conn, user.id, Purpose::ResetPassword).await?)
}

async fn tell_old_address(
    conn: &mut AsyncPgConnection,
    state: &AppState,
    user: &User,
    change: &EmailChange,
    undo: &OneTimeToken,
) -> Result<(), DependencyError> {
    let parameters = MailParameters::EmailChangeNotice {
        display_name: user.display_name.clone(),
        new_email_masked: change.new_email.as_str().to_owned(),
        undo_link: Some(state.addresses.undo_email_change_link(undo)),
        completed: true,
    };
    notices::send(conn, state, user, &parameters).await
}
