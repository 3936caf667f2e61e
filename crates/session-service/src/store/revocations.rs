//! What was revoked lately, for replicas that answer from memory.

use access_tokens::{Revocation, RevocationTarget};
use auth_ids::{GenericUuid, SessionId, UserId, Uuid};
use chrono::{DateTime, Utc};
use diesel::{
    QueryableByName,
    sql_types::{Array, BigInt, Nullable, Text, Timestamptz, Uuid as SqlUuid},
};
use diesel_async::{AsyncPgConnection, RunQueryDsl};

/// Where a reader stands: no transaction before this one will commit anything that it has not seen.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct Cursor(u64);

/// What a look at the table brought.
pub struct News {
    pub revocations: Vec<Revocation>,
    pub cursor: Cursor,
    /// Something that differs whenever the signing keys do.
    pub keys: String,
}

#[derive(QueryableByName)]
struct NewsRow {
    #[diesel(sql_type = Text)]
    xmin: String,
    #[diesel(sql_type = Text)]
    keys: String,
    #[diesel(sql_type = Nullable<SqlUuid>)]
    session_id: Option<Uuid>,
    #[diesel(sql_type = Nullable<SqlUuid>)]
    user_id: Option<Uuid>,
    #[diesel(sql_type = Nullable<BigInt>)]
    epoch: Option<i64>,
    #[diesel(sql_type = Nullable<Timestamptz>)]
    revoked_at: Option<DateTime<Utc>>,
    #[diesel(sql_type = Nullable<Timestamptz>)]
    forget_at: Option<DateTime<Utc>>,
}

/// Stores what the caller's transaction revokes.
pub async fn record(conn: &mut AsyncPgConnection, revocations: &[Revocation]) -> pg::Result<()> {
    let (mut sessions, mut users, mut epochs) = (Vec::new(), Vec::new(), Vec::new());
    let (mut revoked_at, mut forget_at) = (Vec::new(), Vec::new());
    for revocation in revocations {
        let (session, user, epoch) = match revocation.target {
            RevocationTarget::Session(id) => (Some(id.into_untyped_uuid()), None, None),
            RevocationTarget::UserBefore(id, epoch) => {
                (None, Some(id.into_untyped_uuid()), Some(epoch.cast_signed()))
            }
        };
        sessions.push(session);
        users.push(user);
        epochs.push(epoch);
        revoked_at.push(revocation.revoked_at);
        forget_at.push(revocation.forget_at);
    }
    diesel::sql_query(
        "INSERT INTO revocations (session_id, user_id, epoch, revoked_at, forget_at)
         SELECT * FROM unnest($1, $2, $3, $4, $5)",
    )
    .bind::<Array<Nullable<SqlUuid>>, _>(sessions)
    .bind::<Array<Nullable<SqlUuid>>, _>(users)
    .bind::<Array<Nullable<BigInt>>, _>(epochs)
    .bind::<Array<Timestamptz>, _>(revoked_at)
    .bind::<Array<Timestamptz>, _>(forget_at)
    .execute(conn)
    .await?;
    Ok(())
}

/// What was committed since a reader stood at `cursor`, as far as it still matters at `now`; some of it may be known.
pub async fn since(conn: &mut AsyncPgConnection, cursor: Cursor, now: DateTime<Utc>) -> pg::Result<News> {
    let rows: Vec<NewsRow> = diesel::sql_query(
        "SELECT pg_snapshot_xmin(pg_current_snapshot())::text AS xmin,
                (SELECT coalesce(string_agg(concat_ws(' ', kid, not_before, retire_at), ',' ORDER BY kid), '')
                   FROM signing_keys) AS keys,
                session_id, user_id, epoch, revoked_at, forget_at
           FROM (VALUES (1)) AS always
                LEFT JOIN revocations ON xid >= $1::xid8 AND forget_at > $2",
    )
    .bind::<Text, _>(cursor.0.to_string())
    .bind::<Timestamptz, _>(now)
    .load(conn)
    .await?;
    let first = rows.as_slice().first();
    let xmin = first.and_then(|row| row.xmin.parse().ok()).unwrap_or_default();
    let keys = first.map(|row| row.keys.clone()).unwrap_or_default();
    let revocations = rows.into_iter().filter_map(NewsRow::revocation).collect();
    Ok(News { revocations, cursor: Cursor(xmin), keys })
}

/// Deletes a batch of what no token is concerned by any more; how many there were.
pub async fn forget_old(conn: &mut AsyncPgConnection, now: DateTime<Utc>) -> pg::Result<usize> {
    let deleted = diesel::sql_query(
        "DELETE FROM revocations WHERE ctid = ANY (ARRAY(SELECT ctid FROM revocations WHERE forget_at <= $1 LIMIT 1000))",
    )
    .bind::<Timestamptz, _>(now)
    .execute(conn)
    .await?;
    Ok(deleted)
}

impl NewsRow {
    fn revocation(self) -> Option<Revocation> {
        let target = match (self.session_id, self.user_id, self.epoch) {
            (Some(id), _, _) => RevocationTarget::Session(SessionId::from_untyped_uuid(id)),
            (None, Some(id), Some(epoch)) => {
                RevocationTarget::UserBefore(UserId::from_untyped_uuid(id), epoch.cast_unsigned())
            }
            _ => return None,
        };
        Some(Revocation { target, revoked_at: self.revoked_at?, forget_at: self.forget_at? })
    }
}
