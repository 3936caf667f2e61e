//! Sets a new password with the token of a mail.

use std::{borrow::Cow, time::Duration};

use auth_events::{Client, Fact, commands::MailParameters, facts::UserPasswordReset};
use diesel_async::AsyncConnection;
use pg::AsyncPgConnection;
use service_error::{ErrorKind, FieldError, ServiceError};

use crate::{
    app::{
        attempts::password_key,
        begin_session::remember_browser,
        dependency::{DependencyError, depends_on_the_outside},
        forget_pending::forget_pending,
        notices, password_rules, revocation,
    },
    domain::{
        attempts::PASSWORD,
        bearer_secret::{DeviceToken, OneTimeToken, SecretHash},
        plain_password::PasswordError,
        user::{User, UserStatus},
    },
    state::AppState,
    store::{
        attempts,
        one_time_tokens::{self, Purpose},
        pending_revocations::PendingRevocation,
        users,
    },
};

const REASON: &str = "password_reset";

/// Why the password stays what it is.
#[derive(Debug, thiserror::Error)]
pub enum ResetPasswordError {
    /// The token is not known, was used, has expired or was replaced by a newer one, or the account is closed.
    #[error("the token is not good")]
    TokenInvalid,
    /// The new password breaks a rule. The token stays good.
    #[error(transparent)]
    NewPassword(PasswordError),
    /// See [`DependencyError`].
    #[error(transparent)]
    Dependency(DependencyError),
}

depends_on_the_outside!(ResetPasswordError);

impl ServiceError for ResetPasswordError {
    fn kind(&self) -> ErrorKind {
        match self {
            Self::TokenInvalid => ErrorKind::Malformed,
            Self::NewPassword(_) => ErrorKind::Unprocessable,
            Self::Dependency(error) => error.kind(),
        }
    }

    fn reason(&self) -> &'static str {
        match self {
            Self::TokenInvalid => "token_invalid",
            Self::NewPassword(error) => password_rules::code(*error),
            Self::Dependency(error) => error.reason(),
        }
    }

    fn public_detail(&self) -> Cow<'static, str> {
        match self {
            Self::TokenInvalid => "The link is not valid any more. Ask for a new one.".into(),
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
            Self::Dependency(error) => error.retry_after(),
            _ => None,
        }
    }
}

/// Sets the password and ends every session; nobody is logged in by it, and a second factor is asked for as before. Of any number of attempts with one
/// token exactly one succeeds. Without a good token it costs one look-up. The browser becomes the only known one, by what is returned.
pub async fn reset_password(
    state: &AppState,
    token: Option<OneTimeToken>,
    new_password: &str,
    client: &Client,
) -> Result<DeviceToken, ResetPasswordError> {
    let token = token.ok_or(ResetPasswordError::TokenInvalid)?.hash();
    let user = owner(state, &token).await?;
    let chosen = state.passwords.choose(new_password, &user.email, user.display_name.as_deref());
    let chosen = chosen.map_err(ResetPasswordError::NewPassword)?;
    let sealed = state.vault.seal(&state.vault.hash(&chosen).await?, user.id);
    revocation::before_the_change(state, user.id, None, REASON, client).await?;

    let mut conn = state.database.connection().await?;
    let (revocation, device) =
        conn.transaction(async |conn| replace(conn, state, &user, &token, &sealed, client).await).await?;
    drop(conn);
    state.outbox.wake();
    revocation::carry_out(state, &revocation, client).await;
    Ok(device)
}

/// Whose the token is, if it is good. It stays good.
async fn owner(state: &AppState, token: &SecretHash) -> Result<User, ResetPasswordError> {
    let mut conn = state.database.connection().await?;
    let now = state.clock.now();
    let user = one_time_tokens::find_live(&mut conn, token, Purpose::ResetPassword, now).await?;
    let user = users::find(&mut conn, user.ok_or(ResetPasswordError::TokenInvalid)?).await?;
    user.filter(|user| user.status == UserStatus::Active).ok_or(ResetPasswordError::TokenInvalid)
}

async fn replace(
    conn: &mut AsyncPgConnection,
    state: &AppState,
    user: &User,
    token: &SecretHash,
    sealed: &[u8],
    client: &Client,
) -> Result<(PendingRevocation, DeviceToken), ResetPasswordError> {
    let now = state.clock.now();
    let user = users::lock(conn, user.id).await?.filter(|user| user.status == UserStatus::Active);
    let user = user.ok_or(ResetPasswordError::TokenInvalid)?;
    one_time_tokens::consume(conn, token, Purpose::ResetPassword, now)
        .await?
        .ok_or(ResetPasswordError::TokenInvalid)?;
    users::set_password(conn, user.id, sealed, now).await?;
    forget_pending(conn, user.id).await?;
    let device = remember_browser(conn, state, user.id).await?;
    // Whoever failed before failed at another password.
    attempts::clear(conn, &PASSWORD, &password_key(state, &user.email)).await?;
    let fact = Fact::by_user(user.id, UserPasswordReset {}).from_client(client.clone());
    outbox::append_fact(conn, state.fact(Some(user.id), fact)).await?;
    tell_owner(conn, state, &user, client).await?;
    Ok((revocation::decide(conn, state, user.id, None, REASON).await?, device))
}

/// Tells the owner that their password is another one now.
pub async fn tell_owner(
    conn: &mut AsyncPgConnection,
    state: &AppState,
    user: &User,
    client: &Client,
) -> Result<(), DependencyError> {
    let parameters = MailParameters::PasswordChanged {
        display_name: user.display_name.clone(),
        secure_link: notices::secure_link(conn, state, user).await?,
        occasion: notices::occasion(state, client),
    };
    notices::send(conn, state, user, &parameters).await
}
