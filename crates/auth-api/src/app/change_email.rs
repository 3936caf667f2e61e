//! Asks for another address. The old one stays valid until the new one is proved.

use std::{borrow::Cow, time::Duration};

use auth_events::{
    Client, Fact,
    commands::{Lane, MailParameters},
    facts::UserEmailChangeRequested,
};
use chrono::TimeDelta;
use diesel_async::AsyncConnection;
use pg::AsyncPgConnection;
use service_error::{ErrorKind, FieldError, ServiceError};
use session_verifier::Session;

use crate::{
    app::{
        dependency::{DependencyError, depends_on_the_outside},
        mail_allowance, notices, outgoing_mail,
        step_up::{Proof, StepUpError, lock_unchanged, prove},
    },
    domain::{
        bearer_secret::OneTimeToken,
        email_address::EmailAddress,
        user::{User, UserStatus},
    },
    state::AppState,
    store::{
        email_changes::{self, EmailChange, NewEmailChange},
        users,
    },
};

/// How long the link that confirms works.
const CONFIRM_MINUTES: u32 = 60;
const UNCHANGED: &str = "email_unchanged";
const UNCHANGED_DETAIL: &str = "This is the address of the account already.";

/// Why no change of address is begun.
#[derive(Debug, thiserror::Error)]
pub enum ChangeEmailError {
    /// See [`StepUpError`].
    #[error(transparent)]
    StepUp(#[from] StepUpError),
    /// The account has the address already.
    #[error("the account has the address already")]
    Unchanged,
    /// See [`DependencyError`].
    #[error(transparent)]
    Dependency(DependencyError),
}

depends_on_the_outside!(ChangeEmailError);

impl ServiceError for ChangeEmailError {
    fn kind(&self) -> ErrorKind {
        match self {
            Self::StepUp(error) => error.kind(),
            Self::Unchanged => ErrorKind::Unprocessable,
            Self::Dependency(error) => error.kind(),
        }
    }

    fn reason(&self) -> &'static str {
        match self {
            Self::StepUp(error) => error.reason(),
            Self::Unchanged => UNCHANGED,
            Self::Dependency(error) => error.reason(),
        }
    }

    fn public_detail(&self) -> Cow<'static, str> {
        match self {
            Self::StepUp(error) => error.public_detail(),
            Self::Unchanged => UNCHANGED_DETAIL.into(),
            Self::Dependency(error) => error.public_detail(),
        }
    }

    fn field_errors(&self) -> Vec<FieldError> {
        match self {
            Self::Unchanged => vec![FieldError::new("newEmail", UNCHANGED, UNCHANGED_DETAIL)],
            Self::StepUp(_) | Self::Dependency(_) => Vec::new(),
        }
    }

    fn retry_after(&self) -> Option<Duration> {
        match self {
            Self::StepUp(error) => error.retry_after(),
            Self::Unchanged => None,
            Self::Dependency(error) => error.retry_after(),
        }
    }
}

/// Sends the new address a link that confirms the change, in place of any earlier change that is not confirmed, and tells the old one. Whoever asks
/// learns nothing about the new address.
pub async fn change_email(
    state: &AppState,
    caller: &Session,
    new_email: EmailAddress,
    proof: Proof,
    client: &Client,
) -> Result<(), ChangeEmailError> {
    // However recent the last authentication is: whoever stole a session does not know the password.
    if proof.password.is_none() {
        return Err(StepUpError::ReauthRequired.into());
    }
    let user = prove(state, caller, proof, "change_email", client).await?;
    if user.email == new_email {
        return Err(ChangeEmailError::Unchanged);
    }
    let mut conn = state.database.connection().await?;
    conn.transaction(async |conn| {
        let user = lock_unchanged(conn, &user).await?;
        ask_new_address(conn, state, &user, new_email.clone()).await?;
        let parameters = MailParameters::EmailChangeNotice {
            display_name: user.display_name.clone(),
            new_email_masked: new_email.as_str().to_owned(),
            undo_link: None,
            completed: false,
        };
        notices::send(conn, state, &user, &parameters).await?;
        let fact = Fact::by_user(user.id, UserEmailChangeRequested {}).from_client(client.clone());
        Ok::<_, ChangeEmailError>(outbox::append_fact(conn, state.fact(Some(user.id), fact)).await?)
    })
    .await?;
    state.outbox.wake();
    Ok(())
}

/// Writes one mail to the new address, unless it was sent too many: to its owner if it has an account, which then stays what it is, and the link if not.
/// Either is the same work.
async fn ask_new_address(
    conn: &mut AsyncPgConnection,
    state: &AppState,
    user: &User,
    new_email: EmailAddress,
) -> Result<(), DependencyError> {
    let owner = users::find_by_email(conn, &new_email).await?;
    let owner = owner.filter(|owner| owner.status != UserStatus::Unverified);
    if !mail_allowance::take(conn, state, &new_email).await? {
        // The link that was sent to this address before is the only one that there will be.
        return Ok(email_changes::delete_pending_to_others(conn, user.id, &new_email).await?);
    }
    let now = state.clock.now();
    let expires_at = now + TimeDelta::minutes(i64::from(CONFIRM_MINUTES));
    let token = OneTimeToken::generate(&mut clock::secure_rng());
    let id = auth_ids::generate(&*state.clock, &mut clock::secure_rng());
    let change =
        EmailChange { id, user_id: user.id, old_email: user.email.clone(), new_email, requested_at: now };
    let confirm_hash = &token.hash();
    let new = NewEmailChange { change: &change, confirm_hash, confirm_expires_at: expires_at };
    email_changes::request(conn, new).await?;
    let command = if let Some(owner) = &owner {
        let parameters = MailParameters::AlreadyRegistered {
            display_name: owner.display_name.clone(),
            login_link: state.addresses.login_link(),
            reset_link: state.addresses.forgot_password_link(),
        };
        outgoing_mail::command(state, owner, &parameters, Lane::Notice, expires_at)?
    } else {
        let parameters = MailParameters::EmailChangeConfirm {
            display_name: user.display_name.clone(),
            link: state.addresses.confirm_email_change_link(&token),
            expires_in_minutes: CONFIRM_MINUTES,
        };
        outgoing_mail::command_to(state, user, &change.new_email, &parameters, Lane::Security, expires_at)?
    };
    Ok(outbox::append_mail(conn, command).await?)
}
