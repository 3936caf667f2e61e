//! Accounts.

use auth_events::commands::Locale;
use auth_ids::{GenericUuid, UserId, Uuid};
use chrono::{DateTime, Utc};
use diesel::prelude::*;
use diesel_async::{AsyncPgConnection, RunQueryDsl};

use super::schema::{totp_factors, users};
use crate::domain::{
    account::Account,
    email_address::EmailAddress,
    user::{User, UserStatus},
};

/// The constraint that lets an address have one account.
pub const EMAIL_KEY: &str = "users_email_key";

#[derive(Queryable, Selectable)]
#[diesel(table_name = users, check_for_backend(diesel::pg::Pg))]
struct UserRow {
    id: Uuid,
    email: String,
    status: String,
    display_name: Option<String>,
    locale: String,
    roles: Vec<String>,
    password: Vec<u8>,
    registration_handle_hash: Option<Vec<u8>>,
    registration_notice_at: Option<DateTime<Utc>>,
    created_at: DateTime<Utc>,
    credential_epoch: i64,
    password_off_reason: Option<String>,
    last_login_at: Option<DateTime<Utc>>,
    deletes_at: Option<DateTime<Utc>>,
}

impl TryFrom<UserRow> for User {
    type Error = pg::Error;

    fn try_from(row: UserRow) -> pg::Result<Self> {
        Ok(Self {
            id: UserId::from_untyped_uuid(row.id),
            email: EmailAddress::parse(&row.email).map_err(corrupt)?,
            status: row.status.parse().map_err(corrupt)?,
            display_name: row.display_name,
            locale: Locale::from_tag(&row.locale).unwrap_or_default(),
            roles: row.roles,
            password: row.password,
            registration_handle_hash: row.registration_handle_hash,
            registration_notice_at: row.registration_notice_at,
            created_at: row.created_at,
            credential_epoch: row.credential_epoch,
            password_off: row.password_off_reason,
            last_login_at: row.last_login_at,
            deletes_at: row.deletes_at,
        })
    }
}

#[derive(Queryable, Selectable)]
#[diesel(table_name = users, check_for_backend(diesel::pg::Pg))]
struct AccountRow {
    id: Uuid,
    email: String,
    status: String,
    display_name: Option<String>,
    locale: String,
    roles: Vec<String>,
    created_at: DateTime<Utc>,
}

impl AccountRow {
    fn into_account(self, mfa_enabled: bool) -> pg::Result<Account> {
        Ok(Account {
            id: UserId::from_untyped_uuid(self.id),
            email: EmailAddress::parse(&self.email).map_err(corrupt)?,
            status: self.status.parse().map_err(corrupt)?,
            display_name: self.display_name,
            locale: Locale::from_tag(&self.locale).unwrap_or_default(),
            roles: self.roles,
            created_at: self.created_at,
            mfa_enabled,
        })
    }
}

fn corrupt(error: impl std::error::Error + Send + Sync + 'static) -> pg::Error {
    diesel::result::Error::DeserializationError(Box::new(error)).into()
}

/// What a new account starts with.
pub struct NewUser<'a> {
    /// Its id.
    pub id: UserId,
    /// Its address.
    pub email: &'a EmailAddress,
    /// Whether somebody still has to prove the address.
    pub status: UserStatus,
    /// How to greet its owner.
    pub display_name: Option<&'a str>,
    /// The language of its mails.
    pub locale: Locale,
    /// What it may do.
    pub roles: &'a [&'a str],
    /// The sealed hash of its password.
    pub password: &'a [u8],
    /// The hash of the registering browser's handle, while it is unverified.
    pub registration_handle_hash: Option<&'a [u8]>,
    /// Now.
    pub now: DateTime<Utc>,
}

#[derive(Insertable)]
#[diesel(table_name = users, treat_none_as_default_value = false)]
struct NewUserRow<'a> {
    id: Uuid,
    email: &'a str,
    status: &'a str,
    display_name: Option<&'a str>,
    locale: &'a str,
    roles: Vec<&'a str>,
    password: &'a [u8],
    registration_handle_hash: Option<&'a [u8]>,
    registration_notice_at: Option<DateTime<Utc>>,
    created_at: DateTime<Utc>,
    updated_at: DateTime<Utc>,
    verified_at: Option<DateTime<Utc>>,
}

/// Inserts an account, unless the address already has one; says whether it did.
pub async fn insert_if_absent(conn: &mut AsyncPgConnection, user: NewUser<'_>) -> pg::Result<bool> {
    let row = NewUserRow {
        id: user.id.into_untyped_uuid(),
        email: user.email.as_str(),
        status: user.status.name(),
        display_name: user.display_name,
        locale: user.locale.tag(),
        roles: user.roles.to_vec(),
        password: user.password,
        registration_handle_hash: user.registration_handle_hash,
        registration_notice_at: None,
        created_at: user.now,
        updated_at: user.now,
        verified_at: (user.status != UserStatus::Unverified).then_some(user.now),
    };
    let inserted = diesel::insert_into(users::table)
        .values(row)
        .on_conflict(users::email)
        .do_nothing()
        .execute(conn)
        .await?;
    Ok(inserted == 1)
}

/// The account of an address.
pub async fn find_by_email(conn: &mut AsyncPgConnection, email: &EmailAddress) -> pg::Result<Option<User>> {
    let query = users::table.filter(users::email.eq(email.as_str())).select(UserRow::as_select());
    query.first(conn).await.optional()?.map(User::try_from).transpose()
}

/// The account of an address, locked until the transaction ends.
pub async fn lock_by_email(conn: &mut AsyncPgConnection, email: &EmailAddress) -> pg::Result<Option<User>> {
    let query =
        users::table.filter(users::email.eq(email.as_str())).select(UserRow::as_select()).for_no_key_update();
    query.first(conn).await.optional()?.map(User::try_from).transpose()
}

/// An account by its id.
pub async fn find(conn: &mut AsyncPgConnection, id: UserId) -> pg::Result<Option<User>> {
    let query = users::table.find(id.into_untyped_uuid()).select(UserRow::as_select());
    query.first(conn).await.optional()?.map(User::try_from).transpose()
}

/// An account by its id, as its owner sees it: in one query, and without what is secret.
pub async fn find_account(conn: &mut AsyncPgConnection, id: UserId) -> pg::Result<Option<Account>> {
    let factor = totp_factors::table.filter(totp_factors::user_id.eq(users::id));
    let query = users::table
        .find(id.into_untyped_uuid())
        .select((AccountRow::as_select(), diesel::dsl::exists(factor)));
    let found: Option<(AccountRow, bool)> = query.first(conn).await.optional()?;
    found.map(|(row, mfa_enabled)| row.into_account(mfa_enabled)).transpose()
}

/// An account by its id, locked until the transaction ends. Rows that refer to it can be inserted meanwhile: whoever holds such a row and waits for
/// this lock must not make a deadlock of it.
pub async fn lock(conn: &mut AsyncPgConnection, id: UserId) -> pg::Result<Option<User>> {
    let query = users::table.find(id.into_untyped_uuid()).select(UserRow::as_select()).for_no_key_update();
    query.first(conn).await.optional()?.map(User::try_from).transpose()
}

/// Replaces what the last registration of an unverified address said: the newest one counts.
pub async fn replace_registration(
    conn: &mut AsyncPgConnection,
    id: UserId,
    password: &[u8],
    registration_handle_hash: &[u8],
    display_name: Option<&str>,
    locale: Locale,
    now: DateTime<Utc>,
) -> pg::Result<()> {
    diesel::update(users::table.find(id.into_untyped_uuid()))
        .set((
            users::password.eq(password),
            users::registration_handle_hash.eq(registration_handle_hash),
            users::display_name.eq(display_name),
            users::locale.eq(locale.tag()),
            users::updated_at.eq(now),
        ))
        .execute(conn)
        .await?;
    Ok(())
}

/// Remembers that the owner was told of an attempt to register the address.
pub async fn note_registration_notice(
    conn: &mut AsyncPgConnection,
    id: UserId,
    now: DateTime<Utc>,
) -> pg::Result<()> {
    diesel::update(users::table.find(id.into_untyped_uuid()))
        .set(users::registration_notice_at.eq(now))
        .execute(conn)
        .await?;
    Ok(())
}

/// Opens an unverified account, with another password where `password` is one, and without the name that it was registered with where that
/// was perhaps somebody else's.
pub async fn activate(
    conn: &mut AsyncPgConnection,
    id: UserId,
    password: Option<&[u8]>,
    keep_display_name: bool,
    now: DateTime<Utc>,
) -> pg::Result<()> {
    let target = users::table.find(id.into_untyped_uuid());
    diesel::update(target)
        .set((
            users::status.eq(UserStatus::Active.name()),
            users::registration_handle_hash.eq(None::<Vec<u8>>),
            users::verified_at.eq(now),
            users::updated_at.eq(now),
            password.map(|password| users::password.eq(password)),
            (!keep_display_name).then_some(users::display_name.eq(None::<String>)),
        ))
        .execute(conn)
        .await?;
    Ok(())
}

/// Sets another password, which opens the account whatever was wrong with the one before.
pub async fn set_password(
    conn: &mut AsyncPgConnection,
    id: UserId,
    password: &[u8],
    now: DateTime<Utc>,
) -> pg::Result<()> {
    diesel::update(users::table.find(id.into_untyped_uuid()))
        .set((
            users::password.eq(password),
            users::password_changed_at.eq(now),
            users::password_off_since.eq(None::<DateTime<Utc>>),
            users::password_off_reason.eq(None::<String>),
            users::credential_epoch.eq(users::credential_epoch + 1),
            users::updated_at.eq(now),
        ))
        .execute(conn)
        .await?;
    Ok(())
}

/// From now on the password opens nothing until it is reset, for the reason with the code `reason`.
pub async fn turn_password_off(
    conn: &mut AsyncPgConnection,
    id: UserId,
    reason: &str,
    now: DateTime<Utc>,
) -> pg::Result<()> {
    diesel::update(users::table.find(id.into_untyped_uuid()))
        .set((
            users::password_off_since.eq(now),
            users::password_off_reason.eq(reason),
            users::credential_epoch.eq(users::credential_epoch + 1),
            users::updated_at.eq(now),
        ))
        .execute(conn)
        .await?;
    Ok(())
}

/// Makes `email`, which was proved just now, the account's address. Fails with a violation of [`EMAIL_KEY`] if another account has it.
pub async fn set_email(
    conn: &mut AsyncPgConnection,
    id: UserId,
    email: &EmailAddress,
    now: DateTime<Utc>,
) -> pg::Result<()> {
    diesel::update(users::table.find(id.into_untyped_uuid()))
        .set((
            users::email.eq(email.as_str()),
            users::verified_at.eq(now),
            users::credential_epoch.eq(users::credential_epoch + 1),
            users::updated_at.eq(now),
        ))
        .execute(conn)
        .await?;
    Ok(())
}

/// What was verified of the account's credentials before now opens no session any more; for changes of the second factor.
pub async fn begin_credential_epoch(
    conn: &mut AsyncPgConnection,
    id: UserId,
    now: DateTime<Utc>,
) -> pg::Result<()> {
    diesel::update(users::table.find(id.into_untyped_uuid()))
        .set((users::credential_epoch.eq(users::credential_epoch + 1), users::updated_at.eq(now)))
        .execute(conn)
        .await?;
    Ok(())
}

/// Remembers that somebody logged in.
pub async fn note_login(conn: &mut AsyncPgConnection, id: UserId, now: DateTime<Utc>) -> pg::Result<()> {
    diesel::update(users::table.find(id.into_untyped_uuid()))
        .set(users::last_login_at.eq(now))
        .execute(conn)
        .await?;
    Ok(())
}

/// Puts a hash of the same password in the place of `old_sealed`, unless another one is there by now; says whether it did.
pub async fn replace_password_hash(
    conn: &mut AsyncPgConnection,
    id: UserId,
    old_sealed: &[u8],
    new_sealed: &[u8],
) -> pg::Result<bool> {
    let same =
        users::table.filter(users::id.eq(id.into_untyped_uuid())).filter(users::password.eq(old_sealed));
    Ok(diesel::update(same).set(users::password.eq(new_sealed)).execute(conn).await? == 1)
}

/// Deletes the account of an address if it is unverified.
pub async fn delete_unverified(conn: &mut AsyncPgConnection, email: &EmailAddress) -> pg::Result<()> {
    let unverified = users::status.eq(UserStatus::Unverified.name());
    diesel::delete(users::table.filter(unverified).filter(users::email.eq(email.as_str())))
        .execute(conn)
        .await?;
    Ok(())
}

/// Changes how the user is shown and in which language they are spoken to, as far as something is given.
pub async fn update_profile(
    conn: &mut AsyncPgConnection,
    id: UserId,
    display_name: Option<Option<&str>>,
    locale: Option<Locale>,
    now: DateTime<Utc>,
) -> pg::Result<()> {
    diesel::update(users::table.find(id.into_untyped_uuid()))
        .set((
            display_name.map(|name| users::display_name.eq(name)),
            locale.map(|locale| users::locale.eq(locale.tag())),
            users::updated_at.eq(now),
        ))
        .execute(conn)
        .await?;
    Ok(())
}

/// Closes the account until it is deleted at `deletes_at`.
pub async fn schedule_deletion(
    conn: &mut AsyncPgConnection,
    id: UserId,
    deletes_at: DateTime<Utc>,
    now: DateTime<Utc>,
) -> pg::Result<()> {
    diesel::update(users::table.find(id.into_untyped_uuid()))
        .set((
            users::status.eq(UserStatus::PendingDeletion.name()),
            users::deletes_at.eq(deletes_at),
            users::credential_epoch.eq(users::credential_epoch + 1),
            users::updated_at.eq(now),
        ))
        .execute(conn)
        .await?;
    Ok(())
}

/// Opens an account again that was to be deleted; says whether it was.
pub async fn cancel_deletion(
    conn: &mut AsyncPgConnection,
    id: UserId,
    now: DateTime<Utc>,
) -> pg::Result<bool> {
    let pending = users::table
        .find(id.into_untyped_uuid())
        .filter(users::status.eq(UserStatus::PendingDeletion.name()))
        .filter(users::deletes_at.gt(now));
    let restored = diesel::update(pending)
        .set((
            users::status.eq(UserStatus::Active.name()),
            users::deletes_at.eq(None::<DateTime<Utc>>),
            users::updated_at.eq(now),
        ))
        .execute(conn)
        .await?;
    Ok(restored == 1)
}

/// Accounts whose owners asked for their deletion and whose time has come, the longest due first.
pub async fn due_for_deletion(
    conn: &mut AsyncPgConnection,
    now: DateTime<Utc>,
    count: i64,
) -> pg::Result<Vec<UserId>> {
    let due = users::table.filter(users::deletes_at.le(now)).order(users::deletes_at).limit(count);
    let ids: Vec<Uuid> = due.select(users::id).load(conn).await?;
    Ok(ids.into_iter().map(UserId::from_untyped_uuid).collect())
}

/// Deletes the account with everything that belongs to it, if its time has come; says whether it did.
pub async fn delete_if_due(conn: &mut AsyncPgConnection, id: UserId, now: DateTime<Utc>) -> pg::Result<bool> {
    let due = users::table.find(id.into_untyped_uuid()).filter(users::deletes_at.le(now));
    Ok(diesel::delete(due).execute(conn).await? == 1)
}

/// Inserts many verified accounts at once, skipping addresses that have one; for development data.
pub async fn insert_verified(
    conn: &mut AsyncPgConnection,
    accounts: &[(UserId, EmailAddress, Vec<u8>)],
    now: DateTime<Utc>,
) -> pg::Result<usize> {
    let rows: Vec<NewUserRow<'_>> = accounts
        .iter()
        .map(|(id, email, password)| NewUserRow {
            id: id.into_untyped_uuid(),
            email: email.as_str(),
            status: UserStatus::Active.name(),
            display_name: None,
            locale: Locale::default().tag(),
            roles: vec![crate::domain::permission::USER],
            password,
            registration_handle_hash: None,
            registration_notice_at: None,
            created_at: now,
            updated_at: now,
            verified_at: Some(now),
        })
        .collect();
    let insert = diesel::insert_into(users::table).values(&rows).on_conflict(users::email).do_nothing();
    Ok(insert.execute(conn).await?)
}
