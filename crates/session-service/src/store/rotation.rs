//! What a refresh reads and writes of a session: one statement each.

use auth_ids::{GenericUuid, SessionId};
use diesel::{
    QueryResult,
    pg::Pg,
    prelude::*,
    query_builder::{AstPass, QueryFragment, QueryId},
    sql_types::{BigInt, Bool, Inet, Nullable, Text, Timestamptz, Uuid as SqlUuid},
};
use diesel_async::{AsyncPgConnection, RunQueryDsl};

use super::{
    row_version::{RowVersion, Xid},
    schema::{sessions, subjects},
    sessions::SessionRow,
};
use crate::domain::session::Session;

/// A session as it was at one moment.
pub struct Read {
    pub session: Session,
    pub version: RowVersion,
}

/// Finds a session and the epoch of its user without a lock. Both are of the same moment: what the session says its user may do is what was true in
/// that epoch.
pub async fn read(conn: &mut AsyncPgConnection, id: SessionId) -> pg::Result<Option<(Read, u64)>> {
    let found: Option<(SessionRow, RowVersion, i64)> = sessions::table
        .inner_join(subjects::table)
        .filter(sessions::id.eq(id.into_untyped_uuid()))
        .select((SessionRow::as_select(), sessions::xmin, subjects::epoch))
        .first(conn)
        .await
        .optional()?;
    Ok(found.map(|(row, version, epoch)| (Read { session: row.into(), version }, epoch.cast_unsigned())))
}

/// Finds a session and locks its row until the transaction ends.
pub async fn lock(conn: &mut AsyncPgConnection, id: SessionId) -> pg::Result<Option<Read>> {
    let row = sessions::table.find(id.into_untyped_uuid()).select((SessionRow::as_select(), sessions::xmin));
    let found: Option<(SessionRow, RowVersion)> = row.for_no_key_update().first(conn).await.optional()?;
    Ok(found.map(|(row, version)| Read { session: row.into(), version }))
}

/// Stores what [`Session::rotate`] changed, and the message that says so, if nobody has changed the row since it was `version`; whether it was so. This is
/// atomic without a transaction.
pub async fn save(
    conn: &mut AsyncPgConnection,
    session: &Session,
    version: RowVersion,
    message: outbox::Row,
) -> pg::Result<bool> {
    let stored = Save { row: session.into(), version, message }.execute(conn).await?;
    Ok(stored == 1)
}

/// Stores that the current generation of `session` was handed out again, if nobody has changed the row since it was `version`; whether it was so.
pub async fn save_hand_out(
    conn: &mut AsyncPgConnection,
    session: &Session,
    version: RowVersion,
) -> pg::Result<bool> {
    let unchanged = sessions::table.find(session.id.into_untyped_uuid()).filter(sessions::xmin.eq(version));
    let handed_out = sessions::handed_out_at.eq(session.line.handed_out_at);
    Ok(diesel::update(unchanged).set(handed_out).execute(conn).await? == 1)
}

/// The statement. Diesel's builder cannot change data in a `WITH`, and what is given as text is parsed and planned anew each time; this has an
/// id, so each connection prepares it once.
#[derive(QueryId)]
struct Save {
    row: SessionRow,
    version: RowVersion,
    message: outbox::Row,
}

impl QueryFragment<Pg> for Save {
    fn walk_ast<'b>(&'b self, mut out: AstPass<'_, 'b, Pg>) -> QueryResult<()> {
        let Self { row, version, message } = self;
        out.push_sql("WITH moved AS (UPDATE sessions SET generation = ");
        out.push_bind_param::<BigInt, _>(&row.generation)?;
        out.push_sql(", parent_generation = ");
        out.push_bind_param::<Nullable<BigInt>, _>(&row.parent_generation)?;
        out.push_sql(", rotated_at = ");
        out.push_bind_param::<Timestamptz, _>(&row.rotated_at)?;
        out.push_sql(", handed_out_at = ");
        out.push_bind_param::<Timestamptz, _>(&row.handed_out_at)?;
        out.push_sql(", access_token_id = ");
        out.push_bind_param::<SqlUuid, _>(&row.access_token_id)?;
        out.push_sql(", generation_seen = ");
        out.push_bind_param::<Bool, _>(&row.generation_seen)?;
        out.push_sql(", last_seen_at = ");
        out.push_bind_param::<Timestamptz, _>(&row.last_seen_at)?;
        out.push_sql(", idle_expires_at = ");
        out.push_bind_param::<Timestamptz, _>(&row.idle_expires_at)?;
        out.push_sql(", ip = ");
        out.push_bind_param::<Nullable<Inet>, _>(&row.ip)?;
        out.push_sql(", user_agent = ");
        out.push_bind_param::<Nullable<Text>, _>(&row.user_agent)?;
        out.push_sql(" WHERE id = ");
        out.push_bind_param::<SqlUuid, _>(&row.id)?;
        out.push_sql(" AND xmin = ");
        out.push_bind_param::<Xid, _>(version)?;
        out.push_sql(" RETURNING id) ");
        message.insert_if("moved", &mut out)
    }
}
