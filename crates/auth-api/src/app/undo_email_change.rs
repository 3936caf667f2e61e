//! Gives an account back to its old address, with the token of the mail that told it of the change.

use auth_events::{
    Client, Fact,
    commands::MailParameters,
    facts::{UserDeletionCancelled, UserEmailChangeUndone},
};
use diesel_async::AsyncConnection;
use pg::AsyncPgConnection;

use crate::{
    app::{
        confirm_email_change::{EmailLinkError, move_to},
        disable_totp,
        forget_pending::forget_pending,
        forgot_password, notices, revocation,
    },
    domain::{
        bearer_secret::OneTimeToken,
        user::{User, UserStatus},
    },
    state::AppState,
    store::{
        email_changes::{self, EmailChange},
        one_time_tokens::{self, Purpose},
        pending_revocations::PendingRevocation,
        users,
    },
};

const REASON: &str = "email_change_undone";

/// Restores the old address, ends every session, lets the password open nothing any more and sends the old address a link that sets a new one: whoever
/// changed the address without its owner's will knew the password. Later changes are undone with it. Of any number of attempts with one token exactly
/// one succeeds.
pub async fn undo_email_change(
    state: &AppState,
    token: Option<OneTimeToken>,
    client: &Client,
) -> Result<(), EmailLinkError> {
    let token = token.ok_or(EmailLinkError::TokenInvalid)?.hash();
    let mut conn = state.database.connection().await?;
    let change = email_changes::find_undoable(&mut conn, &token, state.clock.now()).await?;
    let change = change.ok_or(EmailLinkError::TokenInvalid)?;
    drop(conn);
    revocation::before_the_change(state, change.user_id, None, REASON, client).await?;

    let mut conn = state.database.connection().await?;
    let revocation = conn.transaction(async |conn| undo(conn, state, &change, client).await).await?;
    drop(conn);
    state.accounts.forget(change.user_id);
    state.outbox.wake();
    revocation::carry_out(state, &revocation, client).await;
    Ok(())
}

async fn undo(
    conn: &mut AsyncPgConnection,
    state: &AppState,
    change: &EmailChange,
    client: &Client,
) -> Result<PendingRevocation, EmailLinkError> {
    let user = users::lock(conn, change.user_id).await?.ok_or(EmailLinkError::TokenInvalid)?;
    let restored = give_back(conn, state, user, change, client).await?;
    users::turn_password_off(conn, restored.id, REASON, state.clock.now()).await?;
    forget_pending(conn, restored.id).await?;
    let forgotten = disable_totp::forget_since(conn, state, restored.id, change.requested_at, client).await?;
    forgotten.tell_owner(conn, state, &restored, client).await?;
    if is_open_again(conn, state, &restored, client).await? {
        forgot_password::send_link(conn, state, &restored).await?;
    }
    Ok(revocation::decide(conn, state, restored.id, None, REASON).await?)
}

/// Gives the account of `user`, which is locked, back to the address that it had before `change`, as that account then is.
pub async fn give_back(
    conn: &mut AsyncPgConnection,
    state: &AppState,
    user: User,
    change: &EmailChange,
    client: &Client,
) -> Result<User, EmailLinkError> {
    if !email_changes::undo(conn, change.id, state.clock.now()).await? {
        return Err(EmailLinkError::TokenInvalid);
    }
    move_to(conn, state, &user, &change.old_email).await?;
    // Links that went to addresses which are not the account's any more.
    for purpose in [Purpose::SecureAccount, Purpose::RestoreAccount] {
        one_time_tokens::forget_unused(conn, user.id, purpose).await?;
    }
    tell_removed_address(conn, state, &user, change).await?;
    let fact = Fact::by_user(user.id, UserEmailChangeUndone {}).from_client(client.clone());
    outbox::append_fact(conn, state.fact(Some(user.id), fact)).await?;
    Ok(User { email: change.old_email.clone(), ..user })
}

/// Whether a new password would open the account. A deletion that was asked for meanwhile is taken back: the link that does so was sent to the address
/// that is gone.
pub async fn is_open_again(
    conn: &mut AsyncPgConnection,
    state: &AppState,
    user: &User,
    client: &Client,
) -> Result<bool, EmailLinkError> {
    if user.status != UserStatus::PendingDeletion {
        return Ok(user.status == UserStatus::Active);
    }
    if !users::cancel_deletion(conn, user.id, state.clock.now()).await? {
        return Ok(false);
    }
    let fact = Fact::by_user(user.id, UserDeletionCancelled {}).from_client(client.clone());
    outbox::append_fact(conn, state.fact(Some(user.id), fact)).await?;
    Ok(true)
}

/// If it was the owner who changed the address, and a thief who undid it, the owner hears of it.
async fn tell_removed_address(
    conn: &mut AsyncPgConnection,
    state: &AppState,
    user: &User,
    change: &EmailChange,
) -> Result<(), EmailLinkError> {
    if user.email == change.old_email {
        return Ok(());
    }
    let parameters = MailParameters::EmailChangeNotice {
        display_name: user.display_name.clone(),
        new_email_masked: change.old_email.as_str().to_owned(),
        undo_link: None,
        completed: true,
    };
    Ok(notices::send(conn, state, user, &parameters).await?)
}
