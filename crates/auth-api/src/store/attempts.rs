//! Attempts at what can be guessed.

use chrono::{DateTime, Utc};
use diesel::prelude::*;
use diesel_async::{AsyncPgConnection, RunQueryDsl};

use super::schema::attempts;
use crate::domain::attempts::{Attempts, Budget};

#[derive(Queryable, Selectable)]
#[diesel(table_name = attempts, check_for_backend(diesel::pg::Pg))]
struct AttemptsRow {
    consecutive: i32,
    window_started_at: DateTime<Utc>,
    window_count: i32,
    blocked_until: Option<DateTime<Utc>>,
}

impl From<AttemptsRow> for Attempts {
    fn from(row: AttemptsRow) -> Self {
        Self {
            consecutive: row.consecutive.unsigned_abs(),
            window_started_at: row.window_started_at,
            window_count: row.window_count.unsigned_abs(),
            blocked_until: row.blocked_until,
        }
    }
}

/// What was tried with `key`; nothing, when nobody tried.
pub async fn find(
    conn: &mut AsyncPgConnection,
    budget: &Budget,
    key: &[u8],
    now: DateTime<Utc>,
) -> pg::Result<Attempts> {
    let row = attempts::table.find((budget.scope, key)).select(AttemptsRow::as_select());
    Ok(row.first(conn).await.optional()?.map_or_else(|| Attempts::none(now), Attempts::from))
}

/// The same, locked until the transaction ends, whether or not somebody tried before.
pub async fn lock(
    conn: &mut AsyncPgConnection,
    budget: &Budget,
    key: &[u8],
    now: DateTime<Utc>,
) -> pg::Result<Attempts> {
    let row = diesel::insert_into(attempts::table)
        .values((
            attempts::scope.eq(budget.scope),
            attempts::key.eq(key),
            attempts::consecutive.eq(0),
            attempts::window_started_at.eq(now),
            attempts::window_count.eq(0),
            attempts::updated_at.eq(now),
        ))
        .on_conflict((attempts::scope, attempts::key))
        .do_update()
        .set(attempts::updated_at.eq(now))
        .returning(AttemptsRow::as_returning())
        .get_result(conn)
        .await?;
    Ok(row.into())
}

/// Stores what was tried with `key`, which is locked.
pub async fn save(
    conn: &mut AsyncPgConnection,
    budget: &Budget,
    key: &[u8],
    tried: &Attempts,
) -> pg::Result<()> {
    diesel::update(attempts::table.find((budget.scope, key)))
        .set((
            attempts::consecutive.eq(i32::try_from(tried.consecutive).unwrap_or(i32::MAX)),
            attempts::window_started_at.eq(tried.window_started_at),
            attempts::window_count.eq(i32::try_from(tried.window_count).unwrap_or(i32::MAX)),
            attempts::blocked_until.eq(tried.blocked_until),
        ))
        .execute(conn)
        .await?;
    Ok(())
}

/// Takes back the attempt that made the count what `reserved` says, with the pause that it began; not when there were others since.
pub async fn give_back(
    conn: &mut AsyncPgConnection,
    budget: &Budget,
    key: &[u8],
    reserved: &Attempts,
) -> pg::Result<()> {
    let consecutive = i32::try_from(reserved.consecutive).unwrap_or(i32::MAX);
    let unchanged = attempts::table.find((budget.scope, key)).filter(attempts::consecutive.eq(consecutive));
    diesel::update(unchanged)
        .set((
            attempts::consecutive.eq(attempts::consecutive - 1),
            attempts::window_count.eq(attempts::window_count - 1),
            attempts::blocked_until.eq(None::<DateTime<Utc>>),
        ))
        .execute(conn)
        .await?;
    Ok(())
}

/// Forgets what was tried with `key`, after a success.
pub async fn clear(conn: &mut AsyncPgConnection, budget: &Budget, key: &[u8]) -> pg::Result<()> {
    diesel::delete(attempts::table.find((budget.scope, key))).execute(conn).await?;
    Ok(())
}
