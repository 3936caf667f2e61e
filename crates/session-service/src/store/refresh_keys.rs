//! The sealed keys of the sessions' refresh tokens, for sealing them anew.

use auth_ids::{GenericUuid, SessionId, Uuid};
use diesel::{
    prelude::*,
    sql_types::{Array, Binary, Uuid as SqlUuid},
};
use diesel_async::{AsyncPgConnection, RunQueryDsl};

use super::schema::sessions;

/// A session's key as it is stored.
pub struct StoredRefreshKey {
    pub session: SessionId,
    pub sealed: Vec<u8>,
}

/// What is to stand in the place of what was read.
pub struct Replacement {
    pub session: SessionId,
    pub old: Vec<u8>,
    pub new: Vec<u8>,
}

/// The keys of the sessions after `after`, by their ids, `limit` at most.
pub async fn page(
    conn: &mut AsyncPgConnection,
    after: Option<SessionId>,
    limit: i64,
) -> pg::Result<Vec<StoredRefreshKey>> {
    let after = after.map_or(Uuid::nil(), GenericUuid::into_untyped_uuid);
    let rows: Vec<(Uuid, Vec<u8>)> = sessions::table
        .filter(sessions::id.gt(after))
        .order(sessions::id)
        .limit(limit)
        .select((sessions::id, sessions::refresh_key))
        .load(conn)
        .await?;
    let key = |(id, sealed)| StoredRefreshKey { session: SessionId::from_untyped_uuid(id), sealed };
    Ok(rows.into_iter().map(key).collect())
}

/// Replaces all that are still as they were read; how many these are. Rows that somebody else has locked are left alone: waiting for them while holding
/// others would stop somebody's logout, or two transactions for good.
pub async fn replace(conn: &mut AsyncPgConnection, replacements: Vec<Replacement>) -> pg::Result<usize> {
    let (mut ids, mut old, mut new) = (Vec::new(), Vec::new(), Vec::new());
    for replacement in replacements {
        ids.push(replacement.session.into_untyped_uuid());
        old.push(replacement.old);
        new.push(replacement.new);
    }
    let replaced = diesel::sql_query(
        "WITH free AS (SELECT id FROM sessions WHERE id = ANY ($1) FOR NO KEY UPDATE SKIP LOCKED)
         UPDATE sessions SET refresh_key = replacement.new
           FROM free JOIN unnest($1, $2, $3) AS replacement (id, old, new) USING (id)
          WHERE sessions.id = free.id AND sessions.refresh_key = replacement.old",
    )
    .bind::<Array<SqlUuid>, _>(ids)
    .bind::<Array<Binary>, _>(old)
    .bind::<Array<Binary>, _>(new)
    .execute(conn)
    .await?;
    Ok(replaced)
}
