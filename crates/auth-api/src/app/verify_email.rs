//! Opens an account with the token of the verification mail.

use std::{borrow::Cow, time::Duration};

use auth_events::{Client, Fact, facts::UserEmailVerified};
use diesel_async::AsyncConnection;
use service_error::{ErrorKind, FieldError, ServiceError};

use crate::{
    app::{
        attempts::password_key,
        begin_session::remember_browser,
        dependency::{DependencyError, depends_on_the_outside},
        forget_pending::forget_pending,
        password_rules,
    },
    domain::{
        attempts::PASSWORD,
        bearer_secret::{DeviceToken, OneTimeToken, RegistrationHandle, SecretHash},
        plain_password::PasswordError,
        user::{User, UserStatus},
    },
    state::AppState,
    store::{
        attempts,
        one_time_tokens::{self, Purpose},
        users,
    },
};

/// What the frontend brings from the link and from the browser's storage.
pub struct Verification {
    /// The token, if what was given has the form of one.
    pub token: Option<OneTimeToken>,
    /// The handle that the registering browser kept.
    pub handle: Option<RegistrationHandle>,
    /// A password to open the account with, in place of the one that was registered.
    pub new_password: Option<String>,
}

/// Why the account stays closed.
#[derive(Debug, thiserror::Error)]
pub enum VerifyEmailError {
    /// The token is not known, was used, has expired or was replaced by a newer one.
    #[error("the token is not good")]
    TokenInvalid,
    /// Another browser registered, perhaps another person: only a new password opens the account. The token stays good.
    #[error("the registering browser is not proved and no new password is given")]
    SetPasswordRequired,
    /// The new password breaks a rule. The token stays good.
    #[error(transparent)]
    NewPassword(PasswordError),
    /// See [`DependencyError`].
    #[error(transparent)]
    Dependency(DependencyError),
}

depends_on_the_outside!(VerifyEmailError);

impl ServiceError for VerifyEmailError {
    fn kind(&self) -> ErrorKind {
        match self {
            Self::TokenInvalid => ErrorKind::Malformed,
            Self::SetPasswordRequired => ErrorKind::Conflict,
            Self::NewPassword(_) => ErrorKind::Unprocessable,
            Self::Dependency(error) => error.kind(),
        }
    }

    fn reason(&self) -> &'static str {
        match self {
            Self::TokenInvalid => "token_invalid",
            Self::SetPasswordRequired => "set_password_required",
            Self::NewPassword(error) => password_rules::code(*error),
            Self::Dependency(error) => error.reason(),
        }
    }

    fn public_detail(&self) -> Cow<'static, str> {
        match self {
            Self::TokenInvalid => "The link is not valid any more. Ask for a new one.".into(),
            Self::SetPasswordRequired => {
                "This browser did not start the registration. Choose a new password to open the account."
                    .into()
            }
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

/// Opens the account. Of any number of attempts with one token exactly one succeeds. The browser becomes the only known one, by what is returned.
pub async fn verify_email(
    state: &AppState,
    verification: Verification,
    client: &Client,
) -> Result<DeviceToken, VerifyEmailError> {
    let token = verification.token.ok_or(VerifyEmailError::TokenInvalid)?.hash();
    let mut conn = state.database.connection().await?;
    let user = one_time_tokens::find_live(&mut conn, &token, Purpose::VerifyEmail, state.clock.now()).await?;
    let user = match user {
        Some(id) => users::find(&mut conn, id).await?.ok_or(VerifyEmailError::TokenInvalid)?,
        None => return Err(VerifyEmailError::TokenInvalid),
    };
    drop(conn);

    let handle = verification.handle.map(|handle| handle.hash());
    let new_password = match verification.new_password {
        Some(text) => {
            let chosen = state
                .passwords
                .choose(&text, &user.email, user.display_name.as_deref())
                .map_err(VerifyEmailError::NewPassword)?;
            Some(state.vault.seal(&state.vault.hash(&chosen).await?, user.id))
        }
        None => None,
    };

    let mut conn = state.database.connection().await?;
    let device = conn
        .transaction(async |conn| {
            let now = state.clock.now();
            // The row is locked before its handle is compared: a registration in between would put another password behind the same token.
            let user = users::lock(conn, user.id).await?.ok_or(VerifyEmailError::TokenInvalid)?;
            let same_browser = handle.as_ref().is_some_and(|handle| registered_by(&user, handle));
            if user.status != UserStatus::Unverified {
                return Err(VerifyEmailError::TokenInvalid);
            }
            if !same_browser && new_password.is_none() {
                return Err(VerifyEmailError::SetPasswordRequired);
            }
            one_time_tokens::consume(conn, &token, Purpose::VerifyEmail, now)
                .await?
                .ok_or(VerifyEmailError::TokenInvalid)?;
            users::activate(conn, user.id, new_password.as_deref(), same_browser, now).await?;
            forget_pending(conn, user.id).await?;
            // Whoever guessed at the address before it had an account must not have locked its owner out.
            attempts::clear(conn, &PASSWORD, &password_key(state, &user.email)).await?;
            let device = remember_browser(conn, state, user.id).await?;
            let fact = Fact::by_user(user.id, UserEmailVerified { same_browser }).from_client(client.clone());
            outbox::append_fact(conn, state.fact(Some(user.id), fact)).await?;
            Ok::<_, VerifyEmailError>(device)
        })
        .await?;
    state.accounts.forget(user.id);
    state.outbox.wake();
    Ok(device)
}

fn registered_by(user: &User, handle: &SecretHash) -> bool {
    user.registration_handle_hash.as_deref().is_some_and(|stored| handle.matches(stored))
}
