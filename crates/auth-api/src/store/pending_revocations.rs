//! Sessions that have to end because of a committed change.

use auth_ids::{GenericUuid, RevocationId, SessionId, UserId, Uuid};
use chrono::{DateTime, Utc};
use diesel::prelude::*;
use diesel_async::{AsyncPgConnection, RunQueryDsl};

use super::schema::pending_revocations;

/// A decision to end a user's sessions.
#[derive(Debug, Clone)]
pub struct PendingRevocation {
    /// Its id.
    pub id: RevocationId,
    /// Whose sessions.
    pub user_id: UserId,
    /// The one that lives on.
    pub kept_session: Option<SessionId>,
    /// The code of the reason.
    pub reason: String,
}

/// Writes a decision down.
pub async fn insert(
    conn: &mut AsyncPgConnection,
    revocation: &PendingRevocation,
    now: DateTime<Utc>,
) -> pg::Result<()> {
    diesel::insert_into(pending_revocations::table)
        .values((
            pending_revocations::id.eq(revocation.id.into_untyped_uuid()),
            pending_revocations::user_id.eq(revocation.user_id.into_untyped_uuid()),
            pending_revocations::kept_session.eq(revocation.kept_session.map(GenericUuid::into_untyped_uuid)),
            pending_revocations::reason.eq(&revocation.reason),
            pending_revocations::created_at.eq(now),
        ))
        .execute(conn)
        .await?;
    Ok(())
}

/// The oldest decisions that nobody carried out by `before`.
pub async fn oldest(
    conn: &mut AsyncPgConnection,
    before: DateTime<Utc>,
    count: i64,
) -> pg::Result<Vec<PendingRevocation>> {
    let rows: Vec<(Uuid, Uuid, Option<Uuid>, String)> = pending_revocations::table
        .filter(pending_revocations::created_at.lt(before))
        .order(pending_revocations::created_at)
        .limit(count)
        .select((
            pending_revocations::id,
            pending_revocations::user_id,
            pending_revocations::kept_session,
            pending_revocations::reason,
        ))
        .load(conn)
        .await?;
    let of_row = |(id, user, kept, reason)| PendingRevocation {
        id: RevocationId::from_untyped_uuid(id),
        user_id: UserId::from_untyped_uuid(user),
        kept_session: Option::map(kept, SessionId::from_untyped_uuid),
        reason,
    };
    Ok(rows.into_iter().map(of_row).collect())
}

/// Forgets a decision that was carried out.
pub async fn delete(conn: &mut AsyncPgConnection, id: RevocationId) -> pg::Result<()> {
    diesel::delete(pending_revocations::table.find(id.into_untyped_uuid())).execute(conn).await?;
    Ok(())
}
