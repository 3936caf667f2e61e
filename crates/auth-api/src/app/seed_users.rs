//! Development data: verified users whose passwords are known.

use chrono::{DateTime, Utc};
use clock::Clock;
use pg::Database;

use crate::{
    domain::{email_address::EmailAddress, plain_password::PlainPassword},
    password::PasswordVault,
    store::users,
};

const BATCH: usize = 500;

/// Adds `user<i>@example.com` with the password `CorrectHorseBattery<i>` for `i` from 1 to `count`; says how many were new.
pub async fn seed_users(
    database: &Database,
    vault: &PasswordVault,
    clock: &dyn Clock,
    count: usize,
) -> anyhow::Result<usize> {
    let numbers: Vec<usize> = (1..=count).collect();
    let mut added = 0;
    for batch in numbers.chunks(BATCH) {
        added += seed_batch(database, vault, clock, batch, clock.now()).await?;
    }
    Ok(added)
}

async fn seed_batch(
    database: &Database,
    vault: &PasswordVault,
    clock: &dyn Clock,
    numbers: &[usize],
    now: DateTime<Utc>,
) -> anyhow::Result<usize> {
    let mut accounts = Vec::with_capacity(numbers.len());
    for number in numbers {
        let email = EmailAddress::parse(&format!("user{number}@example.com"))?;
        let password = PlainPassword::presented(&format!("CorrectHorseBattery{number}"))?;
        let id = auth_ids::generate(clock, &mut clock::secure_rng());
        let sealed = vault.seal(&vault.hash(&password).await?, id);
        accounts.push((id, email, sealed));
    }
    Ok(users::insert_verified(&mut *database.connection().await?, &accounts, now).await?)
}
