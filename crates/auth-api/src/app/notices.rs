//! Mails that tell an owner what happened in their account. They are never limited: whoever took an account over must not be able to silence them.

use auth_events::{
    Client,
    commands::{Lane, MailParameters, Occasion},
};
use chrono::TimeDelta;
use pg::AsyncPgConnection;

use crate::{
    app::{dependency::DependencyError, outgoing_mail},
    domain::{bearer_secret::OneTimeToken, user::User},
    state::AppState,
    store::one_time_tokens::{self, NewToken, Purpose},
};

/// How long an owner can say "this wasn't me".
const SECURE_LINK_LIFETIME: TimeDelta = TimeDelta::hours(72);
/// After this a notice is no news.
const NOTICE_LIFETIME: TimeDelta = TimeDelta::hours(72);
/// As much of a browser's name for itself as a mail shows.
const MAX_AGENT_CHARACTERS: usize = 100;

/// The link by which the owner ends every session and turns the password off: "this wasn't me".
pub async fn secure_link(
    conn: &mut AsyncPgConnection,
    state: &AppState,
    user: &User,
) -> Result<String, DependencyError> {
    let now = state.clock.now();
    let token = OneTimeToken::generate(&mut clock::secure_rng());
    let new = NewToken {
        id: auth_ids::generate(&*state.clock, &mut clock::secure_rng()),
        user_id: user.id,
        purpose: Purpose::SecureAccount,
        hash: &token.hash(),
        now,
        expires_at: now + SECURE_LINK_LIFETIME,
    };
    one_time_tokens::issue(conn, new).await?;
    Ok(state.addresses.secure_account_link(&token))
}

/// Sends `parameters` to the address of `user`.
pub async fn send(
    conn: &mut AsyncPgConnection,
    state: &AppState,
    user: &User,
    parameters: &MailParameters,
) -> Result<(), DependencyError> {
    let expires_at = state.clock.now() + NOTICE_LIFETIME;
    let command = outgoing_mail::command(state, user, parameters, Lane::Notice, expires_at)?;
    Ok(outbox::append_mail(conn, command).await?)
}

/// When and from where: now, from `client`.
#[must_use]
pub fn occasion(state: &AppState, client: &Client) -> Occasion {
    Occasion {
        occurred_at: state.clock.now(),
        ip: client.ip.map(|ip| ip.to_string()),
        device: client.user_agent.as_deref().map(|agent| agent.chars().take(MAX_AGENT_CHARACTERS).collect()),
    }
}
