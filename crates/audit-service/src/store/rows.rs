//! Rows as they are, for copies of the log.

use chrono::{DateTime, Utc};
use diesel::{
    QueryableByName, sql_query,
    sql_types::{BigInt, Bool, Text, Timestamptz},
};
use diesel_async::{AsyncPgConnection, RunQueryDsl};

/// The advisory lock of the archive; the number is "archiv" in ASCII.
const ARCHIVE: i64 = 0x61_72_63_68_69_76;

/// A row with everything that is in it. `json_populate_record` makes the row of it again.
#[derive(Debug, Clone, QueryableByName)]
pub struct RawRow {
    #[diesel(sql_type = BigInt)]
    pub seq: i64,
    /// A JSON object of all columns.
    #[diesel(sql_type = Text)]
    pub line: String,
    /// In hex.
    #[diesel(sql_type = Text)]
    pub hash: String,
}

#[derive(QueryableByName)]
struct Truth {
    #[diesel(sql_type = Bool)]
    truth: bool,
}

/// The rows behind `after` up to `end`, in their order, at most `limit`.
pub async fn raw(conn: &mut AsyncPgConnection, after: i64, end: i64, limit: i64) -> pg::Result<Vec<RawRow>> {
    let query = sql_query(
        "SELECT seq, row_to_json(events)::text AS line, encode(hash, 'hex') AS hash FROM events \
         WHERE seq > $1 AND seq <= $2 ORDER BY seq LIMIT $3",
    );
    Ok(query.bind::<BigInt, _>(after).bind::<BigInt, _>(end).bind::<BigInt, _>(limit).load(conn).await?)
}

/// The hash of the row with that `seq`, in hex; `None` when there is none any more.
pub async fn hash(conn: &mut AsyncPgConnection, seq: i64) -> pg::Result<Option<String>> {
    let rows = raw(conn, seq - 1, seq, 1).await?;
    Ok(rows.into_iter().next().map(|row| row.hash))
}

/// Whether the first row behind `after` was recorded before `time`.
pub async fn is_older(conn: &mut AsyncPgConnection, after: i64, time: DateTime<Utc>) -> pg::Result<bool> {
    let query = sql_query(
        "SELECT coalesce((SELECT recorded_at < $2 FROM events WHERE seq > $1 ORDER BY seq LIMIT 1), false) AS truth",
    );
    truth(conn, query.bind::<BigInt, _>(after).bind::<Timestamptz, _>(time)).await
}

/// Keeps other replicas from archiving, until it is given back or the connection ends. `false`: another has it.
pub async fn try_lock_archive(conn: &mut AsyncPgConnection) -> pg::Result<bool> {
    truth(conn, sql_query("SELECT pg_try_advisory_lock($1) AS truth").bind::<BigInt, _>(ARCHIVE)).await
}

/// Gives the archive back.
pub async fn unlock_archive(conn: &mut AsyncPgConnection) -> pg::Result<()> {
    truth(conn, sql_query("SELECT pg_advisory_unlock($1) AS truth").bind::<BigInt, _>(ARCHIVE)).await?;
    Ok(())
}

async fn truth<'q, Q>(conn: &mut AsyncPgConnection, query: Q) -> pg::Result<bool>
where
    Q: diesel_async::methods::LoadQuery<'q, AsyncPgConnection, Truth> + Send + 'q,
{
    let row: Truth = query.get_result(conn).await?;
    Ok(row.truth)
}
