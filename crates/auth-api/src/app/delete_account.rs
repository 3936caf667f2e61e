//! Deletes an account because its owner wants it, after a time in which they can change their mind.

use std::{borrow::Cow, time::Duration};

use auth_events::{
    Client, Fact,
    commands::{Lane, MailParameters},
    facts::{UserDeletionCancelled, UserDeletionRequested},
};
use chrono::{DateTime, TimeDelta, Utc};
use diesel_async::AsyncConnection;
use pg::AsyncPgConnection;
use service_error::{ErrorKind, ServiceError};
use session_verifier::Session;

use crate::{
    app::{
        dependency::{DependencyError, depends_on_the_outside},
        forget_pending::forget_pending,
        outgoing_mail, revocation,
        step_up::{self, Proof, StepUpError, lock_unchanged},
    },
    domain::{bearer_secret::OneTimeToken, user::User},
    state::AppState,
    store::{
        one_time_tokens::{self, NewToken, Purpose},
        users,
    },
};

/// How long an owner can change their mind.
const GRACE: TimeDelta = TimeDelta::days(14);

/// Why the account is not deleted, or not kept.
#[derive(Debug, thiserror::Error)]
pub enum DeleteAccountError {
    /// See [`StepUpError`].
    #[error(transparent)]
    StepUp(StepUpError),
    /// The token of the mail is not known, was used or has expired.
    #[error("the token is not good")]
    TokenInvalid,
    /// See [`DependencyError`].
    #[error(transparent)]
    Dependency(DependencyError),
}

depends_on_the_outside!(DeleteAccountError);

impl ServiceError for DeleteAccountError {
    fn kind(&self) -> ErrorKind {
        match self {
            Self::StepUp(error) => error.kind(),
            Self::TokenInvalid => ErrorKind::Malformed,
            Self::Dependency(error) => error.kind(),
        }
    }

    fn reason(&self) -> &'static str {
        match self {
            Self::StepUp(error) => error.reason(),
            Self::TokenInvalid => "token_invalid",
            Self::Dependency(error) => error.reason(),
        }
    }

    fn public_detail(&self) -> Cow<'static, str> {
        match self {
            Self::StepUp(error) => error.public_detail(),
            Self::TokenInvalid => "The link is not valid any more.".into(),
            Self::Dependency(error) => error.public_detail(),
        }
    }

    fn retry_after(&self) -> Option<Duration> {
        match self {
            Self::StepUp(error) => error.retry_after(),
            Self::TokenInvalid => None,
            Self::Dependency(error) => error.retry_after(),
        }
    }
}

/// Closes the account and ends every session; says when it is deleted.
pub async fn delete_account(
    state: &AppState,
    caller: &Session,
    proof: Proof,
    client: &Client,
) -> Result<DateTime<Utc>, DeleteAccountError> {
    let user = step_up::prove(state, caller, proof, "delete_account", client)
        .await
        .map_err(DeleteAccountError::StepUp)?;
    revocation::before_the_change(state, user.id, None, "deletion_requested", client).await?;
    let mut conn = state.database.connection().await?;
    let (deletes_at, revocation) = conn
        .transaction(async |conn| {
            let user = lock_unchanged(conn, &user).await.map_err(DeleteAccountError::StepUp)?;
            let now = state.clock.now();
            let deletes_at = now + GRACE;
            users::schedule_deletion(conn, user.id, deletes_at, now).await?;
            forget_pending(conn, user.id).await?;
            tell_owner(conn, state, &user, deletes_at).await?;
            let fact = Fact::by_user(user.id, UserDeletionRequested { deletes_at });
            let fact = fact.from_client(client.clone());
            outbox::append_fact(conn, state.fact(Some(user.id), fact)).await?;
            let revocation = revocation::decide(conn, state, user.id, None, "deletion_requested").await?;
            Ok::<_, DeleteAccountError>((deletes_at, revocation))
        })
        .await?;
    drop(conn);
    state.accounts.forget(user.id);
    state.outbox.wake();
    revocation::carry_out(state, &revocation, client).await;
    Ok(deletes_at)
}

async fn tell_owner(
    conn: &mut AsyncPgConnection,
    state: &AppState,
    user: &User,
    deletes_at: DateTime<Utc>,
) -> Result<(), DependencyError> {
    let token = OneTimeToken::generate(&mut clock::secure_rng());
    let new = NewToken {
        id: auth_ids::generate(&*state.clock, &mut clock::secure_rng()),
        user_id: user.id,
        purpose: Purpose::RestoreAccount,
        hash: &token.hash(),
        now: state.clock.now(),
        expires_at: deletes_at,
    };
    one_time_tokens::issue(conn, new).await?;
    let parameters = MailParameters::AccountDeletion {
        display_name: user.display_name.clone(),
        restore_link: state.addresses.restore_account_link(&token),
        deletes_at,
    };
    let command = outgoing_mail::command(state, user, &parameters, Lane::Notice, deletes_at)?;
    Ok(outbox::append_mail(conn, command).await?)
}

/// Takes the deletion back with the token of the mail. Nobody is logged in by it.
pub async fn restore_account(
    state: &AppState,
    token: Option<OneTimeToken>,
    client: &Client,
) -> Result<(), DeleteAccountError> {
    let token = token.ok_or(DeleteAccountError::TokenInvalid)?.hash();
    let mut conn = state.database.connection().await?;
    let user = conn
        .transaction(async |conn| {
            let now = state.clock.now();
            let user = one_time_tokens::consume(conn, &token, Purpose::RestoreAccount, now).await?;
            let user = user.ok_or(DeleteAccountError::TokenInvalid)?;
            if !users::cancel_deletion(conn, user, now).await? {
                return Err(DeleteAccountError::TokenInvalid);
            }
            let fact = Fact::by_user(user, UserDeletionCancelled {}).from_client(client.clone());
            outbox::append_fact(conn, state.fact(Some(user), fact)).await?;
            Ok::<_, DeleteAccountError>(user)
        })
        .await?;
    state.accounts.forget(user);
    state.outbox.wake();
    Ok(())
}
