//! Creates an administrator from the command line or the environment; there is no way to do it over the network.

use anyhow::Context as _;
use auth_events::{Actor, ActorKind, Envelope, Fact, commands::Locale, facts::AdminUserCreated};
use clock::Clock;
use diesel_async::AsyncConnection;
use pg::Database;

use crate::{
    domain::{email_address::EmailAddress, permission, plain_password::PlainPassword, user::UserStatus},
    password::PasswordVault,
    state::SOURCE,
    store::users::{self, NewUser},
};

/// What became of it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Bootstrapped {
    /// The account was created.
    Created,
    /// The address has an account, which stays as it is.
    AlreadyThere,
}

/// Creates the verified administrator `email`, unless the address has an account. An unverified one, which anybody can register, makes way.
pub async fn bootstrap_admin(
    database: &Database,
    vault: &PasswordVault,
    clock: &dyn Clock,
    email: &EmailAddress,
    password: &PlainPassword,
) -> anyhow::Result<Bootstrapped> {
    let present = users::find_by_email(&mut *database.connection().await?, email).await?;
    if present.is_some_and(|user| user.status != UserStatus::Unverified) {
        return Ok(Bootstrapped::AlreadyThere);
    }
    let id = auth_ids::generate(clock, &mut clock::secure_rng());
    let sealed = vault.seal(&vault.hash(password).await?, id);
    let roles = [permission::ADMIN, permission::USER];
    let new_user = NewUser {
        id,
        email,
        status: UserStatus::Active,
        display_name: None,
        locale: Locale::default(),
        roles: &roles,
        password: &sealed,
        registration_handle_hash: None,
        now: clock.now(),
    };
    let operator = Actor { kind: ActorKind::Operator, id: None, name: None };
    let fact = Fact::new(operator, AdminUserCreated { roles: roles.map(str::to_owned).to_vec() });
    let event = Envelope::fact(SOURCE, Some(id), fact, clock, &mut clock::secure_rng());
    let mut conn = database.connection().await?;
    let created = conn
        .transaction(async |conn| {
            users::delete_unverified(conn, email).await?;
            let created = users::insert_if_absent(conn, new_user).await?;
            if created {
                outbox::append_fact(conn, event).await?;
            }
            Ok::<_, anyhow::Error>(created)
        })
        .await
        .context("the administrator could not be stored")?;
    Ok(if created { Bootstrapped::Created } else { Bootstrapped::AlreadyThere })
}
