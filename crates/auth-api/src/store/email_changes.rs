//! Changes of address.

use auth_ids::{GenericUuid, UserId};
use chrono::{DateTime, Utc};
use diesel::prelude::*;
use diesel_async::{AsyncPgConnection, RunQueryDsl};

use super::schema::email_changes;

/// Forgets the change that the user asked for and nobody confirmed; says whether there was one.
pub async fn delete_pending(conn: &mut AsyncPgConnection, user: UserId) -> pg::Result<bool> {
    let pending = email_changes::table
        .filter(email_changes::user_id.eq(user.into_untyped_uuid()))
        .filter(email_changes::confirmed_at.is_null());
    Ok(diesel::delete(pending).execute(conn).await? > 0)
}

/// Forgets changes that can be neither confirmed nor undone any more; says how many.
pub async fn delete_over(conn: &mut AsyncPgConnection, now: DateTime<Utc>) -> pg::Result<usize> {
    let unconfirmed = email_changes::confirmed_at.is_null().and(email_changes::confirm_expires_at.le(now));
    let past_undoing = email_changes::undo_expires_at.le(now);
    let over = email_changes::table.filter(unconfirmed.or(past_undoing.assume_not_null()));
    Ok(diesel::delete(over).execute(conn).await?)
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
