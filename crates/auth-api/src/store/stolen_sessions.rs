//! Sessions that were stolen, and whose owner knows.

use auth_ids::{GenericUuid, SessionId, UserId};
use chrono::{DateTime, Utc};
use diesel::prelude::*;
use diesel_async::{AsyncPgConnection, RunQueryDsl};

use super::schema::stolen_sessions;

/// Notes that the owner of `session` is told; whether nobody has told them before.
pub async fn note_told(
    conn: &mut AsyncPgConnection,
    session: SessionId,
    user: UserId,
    now: DateTime<Utc>,
) -> pg::Result<bool> {
    let noted = diesel::insert_into(stolen_sessions::table)
        .values((
            stolen_sessions::session_id.eq(session.into_untyped_uuid()),
            stolen_sessions::user_id.eq(user.into_untyped_uuid()),
            stolen_sessions::told_at.eq(now),
        ))
        .on_conflict_do_nothing()
        .execute(conn)
        .await?;
    Ok(noted == 1)
}
