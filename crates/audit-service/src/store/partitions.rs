//! The months of each class: made ahead, and dropped when their time is over.

use chrono::NaiveDate;
use diesel::{
    QueryableByName, sql_query,
    sql_types::{BigInt, Binary, Date, Integer, Nullable, Text},
};
use diesel_async::{AsyncPgConnection, RunQueryDsl};

use crate::domain::SignedDrop;

/// Every month of every class, as the catalogue has them.
const PARTITIONS: &str = "\
SELECT leaf.relname::text AS name, classes.class, \
    to_date(right(leaf.relname::text, 7), 'YYYY_MM') AS month, pg_total_relation_size(leaf.oid) AS bytes, \
    classes.keep_days, \
    (to_date(right(leaf.relname::text, 7), 'YYYY_MM') + interval '1 month')::date + classes.keep_days AS kept_until, \
    (to_date(right(leaf.relname::text, 7), 'YYYY_MM') + interval '1 month')::timestamp AT TIME ZONE 'UTC' \
        + make_interval(days => classes.keep_days) <= now() AS is_over \
FROM classes \
JOIN pg_inherits ON inhparent = to_regclass('events_' || classes.class) \
JOIN pg_class AS leaf ON leaf.oid = inhrelid \
ORDER BY classes.class, month";

const LAST_OF: &str = "\
SELECT seq, position, hash FROM events \
WHERE class = $1 AND recorded_at >= $2::timestamp AT TIME ZONE 'UTC' \
    AND recorded_at < ($2::timestamp + interval '1 month') AT TIME ZONE 'UTC' \
ORDER BY seq DESC LIMIT 1";

/// A month of a class.
#[derive(Debug, Clone, PartialEq, Eq, QueryableByName)]
pub struct Partition {
    #[diesel(sql_type = Text)]
    pub name: String,
    #[diesel(sql_type = Text)]
    pub class: String,
    /// Its first day.
    #[diesel(sql_type = Date)]
    pub month: NaiveDate,
    /// With its indexes.
    #[diesel(sql_type = BigInt)]
    pub bytes: i64,
    #[diesel(sql_type = Integer)]
    pub keep_days: i32,
    #[diesel(sql_type = Date)]
    pub kept_until: NaiveDate,
    /// Whether it may go.
    #[diesel(sql_type = diesel::sql_types::Bool)]
    pub is_over: bool,
}

#[derive(QueryableByName)]
struct Count {
    #[diesel(sql_type = Integer)]
    count: i32,
}

/// All of them, the oldest first within each class.
pub async fn list(conn: &mut AsyncPgConnection) -> pg::Result<Vec<Partition>> {
    Ok(sql_query(PARTITIONS).load(conn).await?)
}

/// Makes those of this month and of `ahead` more that are not there; says how many.
pub async fn create(conn: &mut AsyncPgConnection, ahead: i32) -> pg::Result<i32> {
    let query = sql_query("SELECT create_partitions($1) AS count").bind::<Integer, _>(ahead);
    let row: Count = query.get_result(conn).await?;
    Ok(row.count)
}

/// The last row of a month; `None` when it has none.
pub async fn last_row(
    conn: &mut AsyncPgConnection,
    class: &str,
    month: NaiveDate,
) -> pg::Result<Option<super::verification::Joint>> {
    let query = sql_query(LAST_OF).bind::<Text, _>(class).bind::<Date, _>(month);
    let rows: Vec<super::verification::Joint> = query.load(conn).await?;
    Ok(rows.into_iter().next())
}

/// Drops the oldest month of a class. The database refuses what is not to go yet; `signed` is absent for an empty month.
pub async fn drop_oldest(
    conn: &mut AsyncPgConnection,
    class: &str,
    month: NaiveDate,
    signed: Option<&SignedDrop>,
) -> pg::Result<()> {
    sql_query("SELECT drop_partition($1, $2, $3, $4, $5, $6)")
        .bind::<Text, _>(class)
        .bind::<Date, _>(month)
        .bind::<Nullable<BigInt>, _>(signed.map(|signed| signed.drop.last.seq))
        .bind::<Nullable<Binary>, _>(signed.map(|signed| signed.drop.last.hash.as_slice()))
        .bind::<Nullable<Text>, _>(signed.map(|signed| signed.drop.key_id.as_str()))
        .bind::<Nullable<Binary>, _>(signed.map(|signed| signed.signature.as_slice()))
        .execute(conn)
        .await?;
    Ok(())
}

/// Forgets up to `limit` ids of events that were dropped; says how many those were.
pub async fn forget_ids(conn: &mut AsyncPgConnection, limit: i32) -> pg::Result<i32> {
    let query = sql_query("SELECT forget_dropped_ids($1) AS count").bind::<Integer, _>(limit);
    let row: Count = query.get_result(conn).await?;
    Ok(row.count)
}

/// Sets how long a class is kept. Only the owner may.
pub async fn keep(conn: &mut AsyncPgConnection, class: &str, days: i32) -> pg::Result<()> {
    sql_query("UPDATE classes SET keep_days = $2 WHERE class = $1 AND keep_days <> $2")
        .bind::<Text, _>(class)
        .bind::<Integer, _>(days)
        .execute(conn)
        .await?;
    Ok(())
}
