//! Reserves attempts at what can be guessed, before they are judged.

use std::time::Duration;

use chrono::TimeDelta;
use diesel_async::AsyncConnection;
use pg::AsyncPgConnection;
use turns::Turn;

use crate::{
    app::dependency::DependencyError,
    domain::{
        attempts::{Attempts, Budget, NotNow},
        email_address::EmailAddress,
    },
    state::AppState,
    store::attempts,
};

/// An attempt that counts as a failure until [`clear`] forgets it. Within this process the next one with the same key begins when this is dropped.
pub struct Reserved {
    /// What was tried, this attempt included.
    pub attempts: Attempts,
    /// What it counts against.
    pub budget: &'static Budget,
    key: Vec<u8>,
    _turn: Turn,
}

/// The key by which password attempts at an address are counted.
#[must_use]
pub fn password_key(state: &AppState, email: &EmailAddress) -> Vec<u8> {
    state.identifier_key.mac("password_attempts", email.as_str().as_bytes()).to_vec()
}

/// Reserves one attempt with `key` in a transaction of its own; the reservation outlives whatever becomes of the request.
pub async fn reserve(
    state: &AppState,
    budget: &'static Budget,
    key: Vec<u8>,
    captcha_passed: bool,
) -> Result<Result<Reserved, NotNow>, DependencyError> {
    // Good attempts that come together wait for each other instead of being refused for the failures that they might have been.
    let turn = state.attempt_turns.take((budget.scope, key.clone())).await;
    let mut conn = state.database.connection().await?;
    let now = state.clock.now();
    let reserved = conn
        .transaction(async |conn| {
            let tried = attempts::lock(conn, budget, &key, now).await?;
            let reserved = tried.reserve(budget, captcha_passed, now);
            if let Ok(reserved) = &reserved {
                attempts::save(conn, budget, &key, reserved).await?;
            }
            Ok::<_, pg::Error>(reserved)
        })
        .await?;
    Ok(reserved.map(|attempts| Reserved { attempts, budget, key, _turn: turn }))
}

/// Forgets the failures before `reserved`, which succeeded.
pub async fn clear(conn: &mut AsyncPgConnection, reserved: &Reserved) -> pg::Result<()> {
    attempts::clear(conn, reserved.budget, &reserved.key).await
}

/// Takes back an attempt that could not be judged.
pub async fn give_back(state: &AppState, reserved: &Reserved) -> pg::Result<()> {
    let mut conn = state.database.connection().await?;
    attempts::give_back(&mut conn, reserved.budget, &reserved.key, &reserved.attempts).await
}

/// A wait as errors tell it; nothing where it is over.
#[must_use]
pub fn retry_after(wait: TimeDelta) -> Duration {
    wait.to_std().unwrap_or_default()
}
