//! Secures the account of an owner who says, with the token of a mail: "this wasn't me".

use std::{borrow::Cow, time::Duration};

use auth_events::{Client, Fact, facts::SecurityAccountSecured};
use chrono::{DateTime, Utc};
use diesel_async::AsyncConnection;
use pg::AsyncPgConnection;
use service_error::{ErrorKind, ServiceError};

use crate::{
    app::{
        confirm_email_change::EmailLinkError,
        dependency::{DependencyError, depends_on_the_outside},
        disable_totp,
        forget_pending::forget_pending,
        forgot_password, revocation,
        undo_email_change::{give_back, is_open_again},
    },
    domain::{
        bearer_secret::{OneTimeToken, SecretHash},
        user::{User, UserStatus},
    },
    state::AppState,
    store::{
        email_changes,
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

impl From<EmailLinkError> for SecureAccountError {
    fn from(error: EmailLinkError) -> Self {
        match error {
            EmailLinkError::TokenInvalid | EmailLinkError::Taken => Self::TokenInvalid,
            EmailLinkError::Dependency(error) => Self::Dependency(error),
        }
    }
}

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

/// Ends every session, lets the password open nothing any more, forgets what an attacker may have begun, undoes changes of address and takes a second
/// factor away that came after the mail, and sends the owner a link that sets a new password. A token does so once.
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
    state.accounts.forget(user);
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
    let spent = one_time_tokens::consume_dated(conn, token, Purpose::SecureAccount, now).await?;
    let (_, told_at) = spent.ok_or(SecureAccountError::TokenInvalid)?;
    let TakenBack { user, since, is_owners, is_open } = take_back(conn, state, user, told_at, client).await?;
    users::turn_password_off(conn, user.id, REASON, now).await?;
    forget_pending(conn, user.id).await?;
    let forgotten = disable_totp::forget_since(conn, state, user.id, since, client).await?;
    // Nothing goes to the address of somebody else.
    if is_owners {
        forgotten.tell_owner(conn, state, &user, client).await?;
    }
    if is_open && is_owners {
        forgot_password::send_link(conn, state, &user).await?;
    }
    let fact = Fact::by_user(user.id, SecurityAccountSecured {}).from_client(client.clone());
    outbox::append_fact(conn, state.fact(Some(user.id), fact)).await?;
    Ok(revocation::decide(conn, state, user.id, None, REASON).await?)
}

/// The account once it is at its owner's address, as far as it can be.
struct TakenBack {
    user: User,
    /// Since when an intruder may have been in it.
    since: DateTime<Utc>,
    /// Whether its address is the one that the owner's mail was sent to.
    is_owners: bool,
    /// Whether a new password opens it.
    is_open: bool,
}

/// Undoes every change of address since the owner was told at `told_at`: whoever was in the account made it.
async fn take_back(
    conn: &mut AsyncPgConnection,
    state: &AppState,
    user: User,
    told_at: DateTime<Utc>,
    client: &Client,
) -> Result<TakenBack, SecureAccountError> {
    let Some(change) = email_changes::oldest_confirmed(conn, user.id, told_at).await? else {
        // An account that is closed is not opened by a new password; once it is open again, its owner can ask for the link.
        let is_open = user.status == UserStatus::Active;
        return Ok(TakenBack { user, since: told_at, is_owners: true, is_open });
    };
    let since = told_at.min(change.requested_at);
    // In a transaction of its own: what else secures the account must happen even if the address is somebody else's by now.
    let given_back =
        conn.transaction(async |conn| give_back(conn, state, user.clone(), &change, client).await).await;
    match given_back {
        Ok(user) => {
            let is_open = is_open_again(conn, state, &user, client).await?;
            Ok(TakenBack { user, since, is_owners: true, is_open })
        }
        Err(EmailLinkError::Taken) => Ok(TakenBack { user, since, is_owners: false, is_open: false }),
        Err(error) => Err(error.into()),
    }
}
