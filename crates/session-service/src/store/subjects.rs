//! One row for each user who ever had a session.

use auth_ids::{GenericUuid, UserId};
use diesel::prelude::*;
use diesel_async::{AsyncPgConnection, RunQueryDsl};

use super::schema::subjects;

/// Locks the user's row until the transaction ends, making it first if need be, and reads the epoch. Whoever changes a
/// user's sessions as a set does this first.
pub async fn lock(conn: &mut AsyncPgConnection, user: UserId) -> pg::Result<u64> {
    let user = user.into_untyped_uuid();
    let row = subjects::table.find(user).select(subjects::epoch).for_no_key_update();
    if let Some(epoch) = row.first::<i64>(conn).await.optional()? {
        return Ok(epoch.cast_unsigned());
    }
    let first = subjects::user_id.eq(user);
    diesel::insert_into(subjects::table).values(first).on_conflict_do_nothing().execute(conn).await?;
    Ok(row.first::<i64>(conn).await?.cast_unsigned())
}

/// Begins the next epoch of a user whose row the caller has locked; which.
pub async fn advance_epoch(conn: &mut AsyncPgConnection, user: UserId) -> pg::Result<u64> {
    let row = subjects::table.find(user.into_untyped_uuid());
    let next = diesel::update(row).set(subjects::epoch.eq(subjects::epoch + 1)).returning(subjects::epoch);
    Ok(next.get_result::<i64>(conn).await?.cast_unsigned())
}

/// The epoch of a user who has a session.
pub async fn epoch(conn: &mut AsyncPgConnection, user: UserId) -> pg::Result<u64> {
    let epoch: i64 =
        subjects::table.find(user.into_untyped_uuid()).select(subjects::epoch).first(conn).await?;
    Ok(epoch.cast_unsigned())
}
