//! Rows as they are verified: many, in order, and as they are stored.

use auth_ids::Uuid;
use diesel::{
    deserialize::{self, FromSql, FromSqlRow},
    pg::{Pg, PgValue, data_types::PgTimestamp},
    prelude::*,
    sql_types::Json,
};
use diesel_async::{AsyncPgConnection, RunQueryDsl};

use crate::domain::chain::{Hash, RowContent};

diesel::table! {
    events (seq) {
        class -> Text,
        seq -> BigInt,
        position -> BigInt,
        id -> Uuid,
        #[sql_name = "type"]
        name -> Text,
        version -> Integer,
        source -> Text,
        occurred_at -> Timestamptz,
        recorded_at -> Timestamptz,
        subject_id -> Nullable<Uuid>,
        actor_kind -> Text,
        actor_id -> Nullable<Uuid>,
        actor_name -> Nullable<Text>,
        outcome -> Text,
        severity -> Text,
        reason -> Nullable<Text>,
        target_kind -> Nullable<Text>,
        target_id -> Nullable<Text>,
        request_id -> Nullable<Text>,
        trace_id -> Nullable<Text>,
        detail -> Json,
        sealed_client -> Nullable<Binary>,
        sealed_detail -> Nullable<Binary>,
        prev_hash -> Binary,
        hash -> Binary,
    }
}

/// Microseconds between 1970, where we count from, and 2000, where PostgreSQL does.
const EPOCH_MICROS: i64 = 946_684_800_000_000;

/// A row.
#[derive(Debug, Queryable, Selectable)]
#[diesel(table_name = events, check_for_backend(Pg))]
pub struct Row {
    pub class: String,
    pub seq: i64,
    pub position: i64,
    pub id: Uuid,
    name: String,
    version: i32,
    source: String,
    occurred_at: PgTimestamp,
    recorded_at: PgTimestamp,
    subject_id: Option<Uuid>,
    actor_kind: String,
    actor_id: Option<Uuid>,
    actor_name: Option<String>,
    outcome: String,
    severity: String,
    reason: Option<String>,
    target_kind: Option<String>,
    target_id: Option<String>,
    request_id: Option<String>,
    trace_id: Option<String>,
    detail: Verbatim,
    sealed_client: Option<Vec<u8>>,
    sealed_detail: Option<Vec<u8>>,
    pub prev_hash: Vec<u8>,
    pub hash: Vec<u8>,
}

/// JSON to the letter.
#[derive(Debug, FromSqlRow)]
pub struct Verbatim(String);

impl FromSql<Json, Pg> for Verbatim {
    fn from_sql(value: PgValue<'_>) -> deserialize::Result<Self> {
        Ok(Self(str::from_utf8(value.as_bytes())?.to_owned()))
    }
}

/// Where a chain is joined.
#[derive(Debug, Clone, PartialEq, Eq, Queryable, Selectable, QueryableByName)]
#[diesel(table_name = events, check_for_backend(Pg))]
pub struct Joint {
    pub seq: i64,
    pub position: i64,
    pub hash: Vec<u8>,
}

impl Row {
    /// The hash that the row should have, if it follows what it says it follows.
    #[must_use]
    pub fn expected_hash(&self, buffer: &mut Vec<u8>) -> Option<Hash> {
        let previous: &Hash = self.prev_hash.as_slice().try_into().ok()?;
        Some(self.content().hash(self.seq, previous, buffer))
    }

    fn content(&self) -> RowContent<'_> {
        RowContent {
            class: &self.class,
            position: self.position,
            id: self.id,
            name: &self.name,
            version: self.version,
            source: &self.source,
            occurred_at: self.occurred_at.0.saturating_add(EPOCH_MICROS),
            recorded_at: self.recorded_at.0.saturating_add(EPOCH_MICROS),
            subject_id: self.subject_id,
            actor_kind: &self.actor_kind,
            actor_id: self.actor_id,
            actor_name: self.actor_name.as_deref(),
            outcome: &self.outcome,
            severity: &self.severity,
            reason: self.reason.as_deref(),
            target_kind: self.target_kind.as_deref(),
            target_id: self.target_id.as_deref(),
            request_id: self.request_id.as_deref(),
            trace_id: self.trace_id.as_deref(),
            detail: &self.detail.0,
            sealed_client: self.sealed_client.as_deref(),
            sealed_detail: self.sealed_detail.as_deref(),
        }
    }
}

/// The rows above `after` up to `up_to`, in their order.
pub async fn rows(conn: &mut AsyncPgConnection, after: i64, up_to: i64) -> pg::Result<Vec<Row>> {
    let query = events::table
        .select(Row::as_select())
        .filter(events::seq.gt(after))
        .filter(events::seq.le(up_to))
        .order(events::seq);
    Ok(query.load(conn).await?)
}

/// The lowest and the highest `seq` of all rows; `None` when there is no row.
pub async fn bounds(conn: &mut AsyncPgConnection) -> pg::Result<Option<(i64, i64)>> {
    let lowest: Option<i64> =
        events::table.select(events::seq).order(events::seq).first(conn).await.optional()?;
    let highest: Option<i64> =
        events::table.select(events::seq).order(events::seq.desc()).first(conn).await.optional()?;
    Ok(lowest.zip(highest))
}

/// The last row of a class below `seq`, if one is kept.
pub async fn last_before(conn: &mut AsyncPgConnection, class: &str, seq: i64) -> pg::Result<Option<Joint>> {
    let query = events::table
        .select(Joint::as_select())
        .filter(events::class.eq(class))
        .filter(events::seq.lt(seq))
        .order(events::seq.desc());
    Ok(query.first(conn).await.optional()?)
}

/// What the first row of a class above `seq` says it follows.
pub async fn next_link(conn: &mut AsyncPgConnection, class: &str, seq: i64) -> pg::Result<Option<Vec<u8>>> {
    let query = events::table
        .select(events::prev_hash)
        .filter(events::class.eq(class))
        .filter(events::seq.gt(seq))
        .order(events::seq);
    Ok(query.first(conn).await.optional()?)
}
