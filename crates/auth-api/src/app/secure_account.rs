//! Secures the account of an owner who says, with the token of a mail: "this wasn't me".

use std::{borrow::Cow, time::Duration};

use auth_events::{Client, Fact, facts::SecurityAccountSecured};
use diesel_async::AsyncConnection;
use pg::AsyncPgConnection;
use service_error::{ErrorKind, ServiceError};

use crate::{
    app::{
        dependency::{DependencyError, depends_on_the_outside},
        forget_pending::forget_pending,
        forgot_password, revocation,
    },
    domain::{
        bearer_secret::{OneTimeToken, SecretHash},
        user::UserStatus,
    },
    state::AppState,
    store::{
        one_time_tokens::{self, Purpose},
        pending_revocations::PendingRevocation,
        users,
    },
};

const REASON: &str = "secured_by_owner";

/// Why the account stays as it is.
#[derive(Debug, thiserror::Error)]
pub enum SecureAccountError {
    /// The token is not known, was used or has expired.
    #[error("the token is not good")]
    TokenInvalid,
    /// See [`DependencyError`].
    #[error(transparent)]
    Dependency(DependencyError),
}

depends_on_the_outside!(SecureAccountError);

impl ServiceError for SecureAccountError {
    fn kind(&self) -> ErrorKind {
        match self {
            Self::TokenInvalid => ErrorKind::Malformed,
            Self::Dependency(error) => error.kind(),
        }
    }

    fn reason(&self) -> &'static str {
        match self {
            Self::TokenInvalid => "token_invalid",
            Self::Dependency(error) => error.reason(),
        }
    }

    fn public_detail(&self) -> Cow<'static, str> {
        match self {
            Self::TokenInvalid => {
                "The link is not valid any more. You can still choose a new password.".into()
            }
            Self::Dependency(error) => error.public_detail(),
        }
    }

    fn retry_after(&self) -> Option<Duration> {
        match self {
            Self::TokenInvalid => None,
            Self::Dependency(error) => error.retry_after(),
        }
    }
}

/// Ends every session, lets the password open nothing any more, forgets what an attacker may have begun, and sends the owner a link that sets a new
/// password. A token does so once.
pub async fn secure_account(
    state: &AppState,
    token: Option<OneTimeToken>,
    client: &Client,
) -> Result<(), SecureAccountError> {
    let token = token.ok_or(SecureAccountError::TokenInvalid)?.hash();
    let mut conn = state.database.connection().await?;
    let now = state.clock.now();
    let user = one_time_tokens::find_live(&mut conn, &token, Purpose::SecureAccount, now).await?;
    let user = user.ok_or(SecureAccountError::TokenInvalid)?;
    drop(conn);
    revocation::before_the_change(state, user, None, REASON, client).await?;

    let mut conn = state.database.connection().await?;
    let revocation = conn.transaction(async |conn| secure(conn, state, user, &token, client).await).await?;
    drop(conn);
    state.outbox.wake();
    revocation::carry_out(state, &revocation, client).await;
    Ok(())
}

async fn secure(
    conn: &mut AsyncPgConnection,
    state: &AppState,
    user: auth_ids::UserId,
    token: &SecretHash,
    client: &Client,
) -> Result<PendingRevocation, SecureAccountError> {
    let now = state.clock.now();
    let user = users::lock(conn, user).await?.ok_or(SecureAccountError::TokenInvalid)?;
    one_time_tokens::consume(conn, token, Purpose::SecureAccount, now)
        .await?
        .ok_or(SecureAccountError::TokenInvalid)?;
    users::turn_password_off(conn, user.id, REASON, now).await?;
    forget_pending(conn, user.id).await?;
    // An account that is closed is not opened by a new password; once it is open again, its owner can ask for the link.
    if user.status == UserStatus::Active {
        forgot_password::send_link(conn, state, &user).await?;
    }
    let fact = Fact::by_user(user.id, SecurityAccountSecured {}).from_client(client.clone());
    outbox::append_fact(conn, state.fact(Some(user.id), fact)).await?;
    Ok(revocation::decide(conn, state, user.id, None, REASON).await?)
}
