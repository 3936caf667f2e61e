//! Changes of address: the newest request of a user can be confirmed once, and each confirmed change undone once.

use auth_ids::{EmailChangeId, GenericUuid, UserId, Uuid};
use chrono::{DateTime, Utc};
use diesel::prelude::*;
use diesel_async::{AsyncPgConnection, RunQueryDsl};

use super::schema::email_changes;
use crate::domain::{bearer_secret::SecretHash, email_address::EmailAddress};

/// A change of address.
#[derive(Debug)]
pub struct EmailChange {
    /// Its id.
    pub id: EmailChangeId,
    /// Whose address.
    pub user_id: UserId,
    /// The address before.
    pub old_email: EmailAddress,
    /// The address after.
    pub new_email: EmailAddress,
    /// When it was asked for.
    pub requested_at: DateTime<Utc>,
}

#[derive(Queryable, Selectable)]
#[diesel(table_name = email_changes, check_for_backend(diesel::pg::Pg))]
struct EmailChangeRow {
    id: Uuid,
    user_id: Uuid,
    old_email: String,
    new_email: String,
    requested_at: DateTime<Utc>,
}

impl TryFrom<EmailChangeRow> for EmailChange {
    type Error = pg::Error;

    fn try_from(row: EmailChangeRow) -> pg::Result<Self> {
        Ok(Self {
            id: EmailChangeId::from_untyped_uuid(row.id),
            user_id: UserId::from_untyped_uuid(row.user_id),
            old_email: address(&row.old_email)?,
            new_email: address(&row.new_email)?,
            requested_at: row.requested_at,
        })
    }
}

fn address(text: &str) -> pg::Result<EmailAddress> {
    EmailAddress::parse(text)
        .map_err(|error| diesel::result::Error::DeserializationError(Box::new(error)).into())
}

/// A request to store.
pub struct NewEmailChange<'a> {
    /// The change.
    pub change: &'a EmailChange,
    /// The hash of the token that confirms it.
    pub confirm_hash: &'a SecretHash,
    /// When that token stops working.
    pub confirm_expires_at: DateTime<Utc>,
}

#[derive(Insertable)]
#[diesel(table_name = email_changes, treat_none_as_default_value = false)]
struct NewEmailChangeRow<'a> {
    id: Uuid,
    user_id: Uuid,
    old_email: &'a str,
    new_email: &'a str,
    requested_at: DateTime<Utc>,
    confirm_hash: &'a [u8],
    confirm_expires_at: DateTime<Utc>,
}

/// Stores a request in place of the one before that nobody confirmed.
pub async fn request(conn: &mut AsyncPgConnection, new: NewEmailChange<'_>) -> pg::Result<()> {
    delete_pending(conn, new.change.user_id).await?;
    let row = NewEmailChangeRow {
        id: new.change.id.into_untyped_uuid(),
        user_id: new.change.user_id.into_untyped_uuid(),
        old_email: new.change.old_email.as_str(),
        new_email: new.change.new_email.as_str(),
        requested_at: new.change.requested_at,
        confirm_hash: new.confirm_hash.as_bytes(),
        confirm_expires_at: new.confirm_expires_at,
    };
    diesel::insert_into(email_changes::table).values(row).execute(conn).await?;
    Ok(())
}

/// The change that the token with the hash `hash` can confirm at `now`. It stays as it is.
pub async fn find_pending(
    conn: &mut AsyncPgConnection,
    hash: &SecretHash,
    now: DateTime<Utc>,
) -> pg::Result<Option<EmailChange>> {
    let pending = email_changes::table
        .filter(email_changes::confirm_hash.eq(hash.as_bytes()))
        .filter(email_changes::confirmed_at.is_null())
        .filter(email_changes::confirm_expires_at.gt(now))
        .select(EmailChangeRow::as_select());
    pending.first(conn).await.optional()?.map(EmailChange::try_from).transpose()
}

/// Confirms a change of the address `old_email`, which the token with the hash `undo_hash` undoes until `undo_expires_at`; says whether it was
/// pending. Of any number of attempts at once exactly one is told so.
pub async fn confirm(
    conn: &mut AsyncPgConnection,
    change: &EmailChange,
    undo_hash: &SecretHash,
    now: DateTime<Utc>,
    undo_expires_at: DateTime<Utc>,
) -> pg::Result<bool> {
    let pending = email_changes::table
        .find(change.id.into_untyped_uuid())
        .filter(email_changes::old_email.eq(change.old_email.as_str()))
        .filter(email_changes::confirmed_at.is_null())
        .filter(email_changes::confirm_expires_at.gt(now));
    let confirmed = diesel::update(pending)
        .set((
            email_changes::confirmed_at.eq(now),
            email_changes::undo_hash.eq(undo_hash.as_bytes()),
            email_changes::undo_expires_at.eq(undo_expires_at),
        ))
        .execute(conn)
        .await?;
    Ok(confirmed == 1)
}

/// The change that the token with the hash `hash` can undo at `now`. It stays as it is.
pub async fn find_undoable(
    conn: &mut AsyncPgConnection,
    hash: &SecretHash,
    now: DateTime<Utc>,
) -> pg::Result<Option<EmailChange>> {
    let undoable = email_changes::table
        .filter(email_changes::undo_hash.eq(hash.as_bytes()))
        .filter(email_changes::undone_at.is_null())
        .filter(email_changes::undo_expires_at.gt(now))
        .select(EmailChangeRow::as_select());
    undoable.first(conn).await.optional()?.map(EmailChange::try_from).transpose()
}

/// The oldest change of the user's that was confirmed at `since` or later and is not undone.
pub async fn oldest_confirmed(
    conn: &mut AsyncPgConnection,
    user: UserId,
    since: DateTime<Utc>,
) -> pg::Result<Option<EmailChange>> {
    let confirmed = email_changes::table
        .filter(email_changes::user_id.eq(user.into_untyped_uuid()))
        .filter(email_changes::confirmed_at.ge(since))
        .filter(email_changes::undone_at.is_null())
        .order(email_changes::confirmed_at.asc())
        .select(EmailChangeRow::as_select());
    confirmed.first(conn).await.optional()?.map(EmailChange::try_from).transpose()
}

/// Whether the account of somebody else than `except_user` left `email` and can still be given back to it.
pub async fn is_reserved(
    conn: &mut AsyncPgConnection,
    email: &EmailAddress,
    except_user: UserId,
    now: DateTime<Utc>,
) -> pg::Result<bool> {
    let undoable = email_changes::table
        .filter(email_changes::old_email.eq(email.as_str()))
        .filter(email_changes::user_id.ne(except_user.into_untyped_uuid()))
        .filter(email_changes::undone_at.is_null())
        .filter(email_changes::undo_expires_at.gt(now));
    Ok(diesel::select(diesel::dsl::exists(undoable)).get_result(conn).await?)
}

/// Undoes the change `id`, and with it every later one of its user: no token of those brings their addresses back. Says whether it could be undone;
/// of any number of attempts at once exactly one is told so.
pub async fn undo(conn: &mut AsyncPgConnection, id: EmailChangeId, now: DateTime<Utc>) -> pg::Result<bool> {
    let undoable = email_changes::table
        .find(id.into_untyped_uuid())
        .filter(email_changes::undone_at.is_null())
        .filter(email_changes::undo_expires_at.gt(now));
    let undone: Option<(Uuid, Option<DateTime<Utc>>)> = diesel::update(undoable)
        .set(email_changes::undone_at.eq(now))
        .returning((email_changes::user_id, email_changes::confirmed_at))
        .get_result(conn)
        .await
        .optional()?;
    let Some((user, confirmed_at)) = undone else { return Ok(false) };
    let later = email_changes::table
        .filter(email_changes::user_id.eq(user))
        .filter(email_changes::confirmed_at.ge(confirmed_at))
        .filter(email_changes::undone_at.is_null());
    diesel::update(later).set(email_changes::undone_at.eq(now)).execute(conn).await?;
    Ok(true)
}

/// Forgets the change that the user asked for and nobody confirmed, unless it is to `kept`.
pub async fn delete_pending_to_others(
    conn: &mut AsyncPgConnection,
    user: UserId,
    kept: &EmailAddress,
) -> pg::Result<()> {
    let pending = email_changes::table
        .filter(email_changes::user_id.eq(user.into_untyped_uuid()))
        .filter(email_changes::confirmed_at.is_null())
        .filter(email_changes::new_email.ne(kept.as_str()));
    diesel::delete(pending).execute(conn).await?;
    Ok(())
}

/// Forgets the change that the user asked for and nobody confirmed; says whether there was one.
pub async fn delete_pending(conn: &mut AsyncPgConnection, user: UserId) -> pg::Result<bool> {
    let pending = email_changes::table
        .filter(email_changes::user_id.eq(user.into_untyped_uuid()))
        .filter(email_changes::confirmed_at.is_null());
    Ok(diesel::delete(pending).execute(conn).await? > 0)
}

/// A change of address as its user may see it later.
#[derive(Debug)]
pub struct EmailChangeRecord {
    /// The address before.
    pub old_email: String,
    /// The address that was wanted.
    pub new_email: String,
    /// When it was asked for.
    pub requested_at: DateTime<Utc>,
    /// When the new address was proved.
    pub confirmed_at: Option<DateTime<Utc>>,
    /// When it was undone.
    pub undone_at: Option<DateTime<Utc>>,
}

/// Every change of the user's that is remembered, the newest first.
pub async fn of_user(conn: &mut AsyncPgConnection, user: UserId) -> pg::Result<Vec<EmailChangeRecord>> {
    type Row = (String, String, DateTime<Utc>, Option<DateTime<Utc>>, Option<DateTime<Utc>>);
    let rows: Vec<Row> = email_changes::table
        .filter(email_changes::user_id.eq(user.into_untyped_uuid()))
        .order(email_changes::requested_at.desc())
        .select((
            email_changes::old_email,
            email_changes::new_email,
            email_changes::requested_at,
            email_changes::confirmed_at,
            email_changes::undone_at,
        ))
        .load(conn)
        .await?;
    let of_row = |(old_email, new_email, requested_at, confirmed_at, undone_at)| EmailChangeRecord {
        old_email,
        new_email,
        requested_at,
        confirmed_at,
        undone_at,
    };
    Ok(rows.into_iter().map(of_row).collect())
}
