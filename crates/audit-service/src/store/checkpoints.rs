//! Checkpoints, and where retention cut chains off: added and read, never changed.

use std::collections::BTreeMap;

use chrono::{DateTime, NaiveDate, Utc};
use diesel::{
    prelude::*,
    sql_query,
    sql_types::{BigInt, Bool},
};
use diesel_async::{AsyncPgConnection, RunQueryDsl};

use crate::domain::{Checkpoint, SignedDrop, SignedHead, Statement};

diesel::table! {
    checkpoints (number) {
        number -> BigInt,
        seq -> BigInt,
        signed_at -> Timestamptz,
        key_id -> Text,
        heads -> Json,
        previous -> Binary,
        signature -> Binary,
    }
}

diesel::table! {
    dropped_partitions (class, month) {
        class -> Text,
        month -> Date,
        seq -> BigInt,
        position -> BigInt,
        hash -> Binary,
        key_id -> Text,
        signature -> Binary,
    }
}

/// The advisory lock of who signs; the number is "sign" in ASCII.
const SIGNER: i64 = 0x73_69_67_6e;

#[derive(Queryable, Selectable, Insertable)]
#[diesel(table_name = checkpoints, check_for_backend(diesel::pg::Pg))]
struct CheckpointRow {
    number: i64,
    seq: i64,
    signed_at: DateTime<Utc>,
    key_id: String,
    heads: serde_json::Value,
    previous: Vec<u8>,
    signature: Vec<u8>,
}

#[derive(Queryable, Selectable)]
#[diesel(table_name = dropped_partitions, check_for_backend(diesel::pg::Pg))]
struct DropRow {
    class: String,
    month: NaiveDate,
    seq: i64,
    position: i64,
    hash: Vec<u8>,
    key_id: String,
    signature: Vec<u8>,
}

#[derive(QueryableByName)]
struct Locked {
    #[diesel(sql_type = Bool)]
    locked: bool,
}

/// Becomes the one who signs until the transaction ends; `false` when somebody else is.
pub async fn try_to_sign(conn: &mut AsyncPgConnection) -> pg::Result<bool> {
    let query = sql_query("SELECT pg_try_advisory_xact_lock($1) AS locked").bind::<BigInt, _>(SIGNER);
    let row: Locked = query.get_result(conn).await?;
    Ok(row.locked)
}

/// The newest checkpoint.
pub async fn newest(conn: &mut AsyncPgConnection) -> pg::Result<Option<Checkpoint>> {
    let query = checkpoints::table.select(CheckpointRow::as_select()).order(checkpoints::number.desc());
    Ok(query.first(conn).await.optional()?.map(Checkpoint::from))
}

/// The checkpoint of that number.
pub async fn find(conn: &mut AsyncPgConnection, number: i64) -> pg::Result<Option<Checkpoint>> {
    let query = checkpoints::table.select(CheckpointRow::as_select()).find(number);
    Ok(query.first(conn).await.optional()?.map(Checkpoint::from))
}

/// At most `limit` checkpoints above `number`, in their order.
pub async fn after(conn: &mut AsyncPgConnection, number: i64, limit: i64) -> pg::Result<Vec<Checkpoint>> {
    let query = checkpoints::table
        .select(CheckpointRow::as_select())
        .filter(checkpoints::number.gt(number))
        .order(checkpoints::number)
        .limit(limit);
    let rows: Vec<CheckpointRow> = query.load(conn).await?;
    Ok(rows.into_iter().map(Checkpoint::from).collect())
}

/// At most `limit` checkpoints below `seq`, the newest first.
pub async fn before(conn: &mut AsyncPgConnection, seq: i64, limit: i64) -> pg::Result<Vec<Checkpoint>> {
    let query = checkpoints::table
        .select(CheckpointRow::as_select())
        .filter(checkpoints::seq.lt(seq))
        .order(checkpoints::seq.desc())
        .limit(limit);
    let rows: Vec<CheckpointRow> = query.load(conn).await?;
    Ok(rows.into_iter().map(Checkpoint::from).collect())
}

/// The number of the last checkpoint whose `seq` is below this one; 0 if there is none.
pub async fn number_below(conn: &mut AsyncPgConnection, seq: i64) -> pg::Result<i64> {
    let query = checkpoints::table
        .select(checkpoints::number)
        .filter(checkpoints::seq.lt(seq))
        .order(checkpoints::seq.desc());
    Ok(query.first(conn).await.optional()?.unwrap_or_default())
}

/// Adds a checkpoint.
pub async fn insert(conn: &mut AsyncPgConnection, checkpoint: &Checkpoint) -> pg::Result<()> {
    let Statement { number, seq, signed_at, key_id, heads, previous } = checkpoint.statement.clone();
    let heads = serde_json::to_value(heads).map_err(serialization)?;
    let signature = checkpoint.signature.clone();
    let row = CheckpointRow { number, seq, signed_at, key_id, heads, previous, signature };
    diesel::insert_into(checkpoints::table).values(row).execute(conn).await?;
    Ok(())
}

/// Where each class was cut off last.
pub async fn last_drops(conn: &mut AsyncPgConnection) -> pg::Result<BTreeMap<String, SignedDrop>> {
    let query = dropped_partitions::table.select(DropRow::as_select()).order(dropped_partitions::month);
    let rows: Vec<DropRow> = query.load(conn).await?;
    Ok(rows.into_iter().map(|row| (row.class.clone(), SignedDrop::from(row))).collect())
}

fn serialization(error: serde_json::Error) -> pg::Error {
    diesel::result::Error::SerializationError(error.into()).into()
}

impl From<CheckpointRow> for Checkpoint {
    fn from(row: CheckpointRow) -> Self {
        let CheckpointRow { number, seq, signed_at, key_id, heads, previous, signature } = row;
        // What is no list of heads was never signed, and is not taken for genuine.
        let heads = serde_json::from_value(heads).unwrap_or_default();
        Self { statement: Statement { number, seq, signed_at, key_id, heads, previous }, signature }
    }
}

impl From<DropRow> for SignedDrop {
    fn from(row: DropRow) -> Self {
        let DropRow { class, month, seq, position, hash, key_id, signature } = row;
        let last = SignedHead { seq, position, hash };
        Self { drop: crate::domain::Drop { class, month, key_id, last }, signature }
    }
}
