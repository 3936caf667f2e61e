//! Which facts of each publishing connection arrived. All replicas consume one queue, so none of them knows alone.

use std::collections::HashMap;

use auth_ids::Uuid;
use chrono::{DateTime, Utc};
use diesel::{
    QueryableByName, sql_query,
    sql_types::{Array, BigInt, Json, Text, Timestamptz, Uuid as SqlUuid},
};
use diesel_async::{AsyncPgConnection, RunQueryDsl};

use crate::domain::arrivals::Arrivals;

/// Of how many connections that say nothing any more is asked at a time.
const SILENT: i64 = 100;

/// A connection of which something is missing.
#[derive(Debug)]
pub struct Waiting {
    pub publisher: Uuid,
    pub source: String,
    pub arrivals: Arrivals,
}

#[derive(QueryableByName)]
struct Row {
    #[diesel(sql_type = SqlUuid)]
    instance: Uuid,
    #[diesel(sql_type = Text)]
    source: String,
    #[diesel(sql_type = BigInt)]
    highest: i64,
    #[diesel(sql_type = BigInt)]
    settled: i64,
    #[diesel(sql_type = Json)]
    holes: serde_json::Value,
}

/// What arrived of these connections, locked until the transaction ends. Who is new begins with nothing.
pub async fn lock(conn: &mut AsyncPgConnection, instances: &[Uuid]) -> pg::Result<HashMap<Uuid, Arrivals>> {
    // Two replicas may meet a new connection at once; the row is made first, so that there is something to lock.
    sql_query(
        "INSERT INTO producers (instance, source, highest, settled, holes, updated_at) \
         SELECT instance, '', 0, 0, '[]', now() FROM unnest($1) AS instance ORDER BY instance \
         ON CONFLICT (instance) DO NOTHING",
    )
    .bind::<Array<SqlUuid>, _>(instances)
    .execute(conn)
    .await?;
    let rows: Vec<Row> = sql_query(
        "SELECT instance, source, highest, settled, holes FROM producers WHERE instance = ANY($1) ORDER BY instance FOR UPDATE",
    )
    .bind::<Array<SqlUuid>, _>(instances)
    .load(conn)
    .await?;
    Ok(rows.into_iter().map(Waiting::from).map(|row| (row.publisher, row.arrivals)).collect())
}

/// Some of the connections of which nothing arrived since `silent_since` and something that the broker confirmed is missing, locked until the
/// transaction ends.
pub async fn lock_silent(
    conn: &mut AsyncPgConnection,
    silent_since: DateTime<Utc>,
) -> pg::Result<Vec<Waiting>> {
    let rows: Vec<Row> = sql_query(
        "SELECT instance, source, highest, settled, holes FROM producers \
         WHERE updated_at < $1 AND EXISTS \
             (SELECT FROM json_array_elements(holes) AS hole WHERE (hole ->> 'first')::bigint <= settled) \
         ORDER BY instance LIMIT $2 FOR UPDATE SKIP LOCKED",
    )
    .bind::<Timestamptz, _>(silent_since)
    .bind::<BigInt, _>(SILENT)
    .load(conn)
    .await?;
    Ok(rows.into_iter().map(Waiting::from).collect())
}

/// Keeps what arrived of a connection.
pub async fn save(
    conn: &mut AsyncPgConnection,
    instance: Uuid,
    source: &str,
    arrivals: &Arrivals,
    now: DateTime<Utc>,
) -> pg::Result<()> {
    let holes = serde_json::to_value(&arrivals.holes)
        .map_err(|error| diesel::result::Error::SerializationError(error.into()))?;
    sql_query(
        "UPDATE producers SET source = $2, highest = $3, settled = $4, holes = $5, updated_at = $6 WHERE instance = $1",
    )
    .bind::<SqlUuid, _>(instance)
    .bind::<Text, _>(source)
    .bind::<BigInt, _>(arrivals.highest)
    .bind::<BigInt, _>(arrivals.settled)
    .bind::<Json, _>(holes)
    .bind::<Timestamptz, _>(now)
    .execute(conn)
    .await?;
    Ok(())
}

/// Forgets connections that have been silent for longer than a message may come again.
pub async fn forget_silent(conn: &mut AsyncPgConnection) -> pg::Result<()> {
    sql_query("DELETE FROM producers WHERE updated_at < now() - interval '35 days'").execute(conn).await?;
    Ok(())
}

impl From<Row> for Waiting {
    fn from(row: Row) -> Self {
        let holes = serde_json::from_value(row.holes).unwrap_or_default();
        let arrivals = Arrivals { highest: row.highest, settled: row.settled, holes };
        Self { publisher: row.instance, source: row.source, arrivals }
    }
}
