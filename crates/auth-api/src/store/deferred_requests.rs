//! Requests that are done in the background.

use auth_ids::{DeferredRequestId, GenericUuid, Uuid};
use chrono::{DateTime, Utc};
use diesel::prelude::*;
use diesel_async::{AsyncPgConnection, RunQueryDsl};

use super::schema::deferred_requests;

/// A request as it is stored.
#[derive(Debug)]
pub struct DeferredRow {
    /// Its id.
    pub id: DeferredRequestId,
    /// What is asked for.
    pub kind: String,
    /// The request, sealed.
    pub sealed: Vec<u8>,
    /// The trace of whoever asked.
    pub traceparent: Option<String>,
    /// How often it failed.
    pub failures: i32,
}

type Row = (Uuid, String, Vec<u8>, Option<String>, i32);

/// Writes a request down.
pub async fn insert(conn: &mut AsyncPgConnection, row: &DeferredRow, now: DateTime<Utc>) -> pg::Result<()> {
    diesel::insert_into(deferred_requests::table)
        .values((
            deferred_requests::id.eq(row.id.into_untyped_uuid()),
            deferred_requests::kind.eq(&row.kind),
            deferred_requests::sealed.eq(&row.sealed),
            deferred_requests::traceparent.eq(row.traceparent.as_deref()),
            deferred_requests::created_at.eq(now),
            deferred_requests::failures.eq(row.failures),
            deferred_requests::due_at.eq(now),
        ))
        .execute(conn)
        .await?;
    Ok(())
}

/// The request that has been due for longest and that nobody else works on, locked until the transaction ends.
pub async fn lock_next(conn: &mut AsyncPgConnection, now: DateTime<Utc>) -> pg::Result<Option<DeferredRow>> {
    let row: Option<Row> = deferred_requests::table
        .filter(deferred_requests::due_at.le(now))
        .order(deferred_requests::due_at)
        .select((
            deferred_requests::id,
            deferred_requests::kind,
            deferred_requests::sealed,
            deferred_requests::traceparent,
            deferred_requests::failures,
        ))
        .for_update()
        .skip_locked()
        .first(conn)
        .await
        .optional()?;
    Ok(row.map(|(id, kind, sealed, traceparent, failures)| DeferredRow {
        id: DeferredRequestId::from_untyped_uuid(id),
        kind,
        sealed,
        traceparent,
        failures,
    }))
}

/// Notes that a request failed once more and when to try again.
pub async fn postpone(
    conn: &mut AsyncPgConnection,
    id: DeferredRequestId,
    due_at: DateTime<Utc>,
) -> pg::Result<()> {
    diesel::update(deferred_requests::table.find(id.into_untyped_uuid()))
        .set((
            deferred_requests::failures.eq(deferred_requests::failures + 1),
            deferred_requests::due_at.eq(due_at),
        ))
        .execute(conn)
        .await?;
    Ok(())
}

/// Forgets a request that was done.
pub async fn delete(conn: &mut AsyncPgConnection, id: DeferredRequestId) -> pg::Result<()> {
    diesel::delete(deferred_requests::table.find(id.into_untyped_uuid())).execute(conn).await?;
    Ok(())
}

/// How many requests wait, and since when the oldest does.
pub async fn waiting(conn: &mut AsyncPgConnection) -> pg::Result<(i64, Option<DateTime<Utc>>)> {
    use diesel::dsl::{count_star, min};
    Ok(deferred_requests::table
        .select((count_star(), min(deferred_requests::created_at)))
        .first(conn)
        .await?)
}
