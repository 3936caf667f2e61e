//! Recovery codes: keyed hashes, each good once.

use auth_ids::{GenericUuid, UserId};
use chrono::{DateTime, Utc};
use diesel::prelude::*;
use diesel_async::{AsyncPgConnection, RunQueryDsl};

use super::schema::recovery_codes;

/// Gives the user these codes in place of all others.
pub async fn replace_all(
    conn: &mut AsyncPgConnection,
    user: UserId,
    hashes: &[[u8; 32]],
    now: DateTime<Utc>,
) -> pg::Result<()> {
    delete_all(conn, user).await?;
    let rows: Vec<_> = hashes
        .iter()
        .map(|hash| {
            (
                recovery_codes::user_id.eq(user.into_untyped_uuid()),
                recovery_codes::code_hash.eq(hash.as_slice()),
                recovery_codes::created_at.eq(now),
            )
        })
        .collect();
    diesel::insert_into(recovery_codes::table).values(rows).execute(conn).await?;
    Ok(())
}

/// Uses a code up; says whether it was there to use. Of any number at once one gets it.
pub async fn use_up(
    conn: &mut AsyncPgConnection,
    user: UserId,
    hash: &[u8; 32],
    now: DateTime<Utc>,
) -> pg::Result<bool> {
    let unused = recovery_codes::table
        .find((user.into_untyped_uuid(), hash.as_slice()))
        .filter(recovery_codes::used_at.is_null());
    Ok(diesel::update(unused).set(recovery_codes::used_at.eq(now)).execute(conn).await? == 1)
}

/// How many codes the user has left.
pub async fn remaining(conn: &mut AsyncPgConnection, user: UserId) -> pg::Result<u32> {
    let unused = recovery_codes::table
        .filter(recovery_codes::user_id.eq(user.into_untyped_uuid()))
        .filter(recovery_codes::used_at.is_null());
    let count: i64 = unused.count().get_result(conn).await?;
    Ok(u32::try_from(count).unwrap_or(u32::MAX))
}

/// Forgets the codes that the user was given at `since` or later; says whether there were any.
pub async fn delete_since(
    conn: &mut AsyncPgConnection,
    user: UserId,
    since: DateTime<Utc>,
) -> pg::Result<bool> {
    let given = recovery_codes::table
        .filter(recovery_codes::user_id.eq(user.into_untyped_uuid()))
        .filter(recovery_codes::created_at.ge(since));
    Ok(diesel::delete(given).execute(conn).await? > 0)
}

/// Forgets every code of the user.
pub async fn delete_all(conn: &mut AsyncPgConnection, user: UserId) -> pg::Result<()> {
    let all = recovery_codes::table.filter(recovery_codes::user_id.eq(user.into_untyped_uuid()));
    diesel::delete(all).execute(conn).await?;
    Ok(())
}
