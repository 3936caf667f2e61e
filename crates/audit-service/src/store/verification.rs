//! Rows as they are verified: many, in order, and as they are stored.

use std::array;

use auth_ids::Uuid;
use diesel::{
    deserialize::{self, FromSql, FromSqlRow},
    pg::{Pg, PgValue, data_types::PgTimestamp},
    prelude::*,
    result::UnexpectedNullError,
    row::Field,
    sql_types::{BigInt, Integer, Nullable, Timestamptz, Uuid as SqlUuid},
};
use diesel_async::{AsyncPgConnection, RunQueryDsl};

use crate::domain::chain::{Hash, RowContent, hash};

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
/// Of the table above.
const COLUMNS: usize = 25;
/// Most rows need less.
const CANONICAL_BYTES: usize = 1_024;

/// A row, as far as it is looked at.
#[derive(Debug)]
pub struct Row {
    pub class: String,
    pub seq: i64,
    pub position: i64,
    pub id: Uuid,
    pub prev_hash: Vec<u8>,
    pub hash: Vec<u8>,
    /// All that it says, as it is hashed.
    canonical: Vec<u8>,
}

/// Its canonical form is written while it is read, so that nothing is copied that is only hashed.
impl FromSqlRow<events::SqlType, Pg> for Row {
    fn build_from_row<'a>(row: &impl diesel::row::Row<'a, Pg>) -> deserialize::Result<Self> {
        let fields: [_; COLUMNS] = std::array::from_fn(|index| row.get(index));
        let values = fields.each_ref().map(|field| field.as_ref().and_then(Field::value));
        let mut columns = Columns(values.into_iter());
        let class = columns.text()?;
        let seq = columns.value::<BigInt, _>()?;
        let content = RowContent {
            class,
            position: columns.value::<BigInt, _>()?,
            id: columns.value::<SqlUuid, _>()?,
            name: columns.text()?,
            version: columns.value::<Integer, _>()?,
            source: columns.text()?,
            occurred_at: columns.micros()?,
            recorded_at: columns.micros()?,
            subject_id: columns.value::<Nullable<SqlUuid>, _>()?,
            actor_kind: columns.text()?,
            actor_id: columns.value::<Nullable<SqlUuid>, _>()?,
            actor_name: columns.optional_text()?,
            outcome: columns.text()?,
            severity: columns.text()?,
            reason: columns.optional_text()?,
            target_kind: columns.optional_text()?,
            target_id: columns.optional_text()?,
            request_id: columns.optional_text()?,
            trace_id: columns.optional_text()?,
            detail: columns.text()?,
            sealed_client: columns.optional_bytes(),
            sealed_detail: columns.optional_bytes(),
        };
        let mut canonical = Vec::with_capacity(CANONICAL_BYTES);
        content.write_canonical(&mut canonical);
        Ok(Self {
            class: class.to_owned(),
            seq,
            position: content.position,
            id: content.id,
            prev_hash: columns.bytes()?.to_owned(),
            hash: columns.bytes()?.to_owned(),
            canonical,
        })
    }
}

/// The values of a row, to be taken in the order of the table.
struct Columns<'a>(array::IntoIter<Option<PgValue<'a>>, COLUMNS>);

impl<'a> Columns<'a> {
    fn value<ST, T: FromSql<ST, Pg>>(&mut self) -> deserialize::Result<T> {
        T::from_nullable_sql(self.0.next().flatten())
    }

    /// Microseconds since 1970.
    fn micros(&mut self) -> deserialize::Result<i64> {
        let since_2000 = self.value::<Timestamptz, PgTimestamp>()?;
        Ok(since_2000.0.saturating_add(EPOCH_MICROS))
    }

    fn optional_bytes(&mut self) -> Option<&'a [u8]> {
        self.0.next().flatten().map(|value| value.as_bytes())
    }

    fn bytes(&mut self) -> deserialize::Result<&'a [u8]> {
        Ok(self.optional_bytes().ok_or(UnexpectedNullError)?)
    }

    fn optional_text(&mut self) -> deserialize::Result<Option<&'a str>> {
        Ok(self.optional_bytes().map(str::from_utf8).transpose()?)
    }

    fn text(&mut self) -> deserialize::Result<&'a str> {
        Ok(str::from_utf8(self.bytes()?)?)
    }
}

impl Row {
    /// The hash that the row should have, if it follows what it says it follows.
    #[must_use]
    pub fn expected_hash(&self) -> Option<Hash> {
        let previous: &Hash = self.prev_hash.as_slice().try_into().ok()?;
        Some(hash(self.seq, previous, &self.canonical))
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

/// The rows above `after` up to `up_to`, in their order.
pub async fn rows(conn: &mut AsyncPgConnection, after: i64, up_to: i64) -> pg::Result<Vec<Row>> {
    let query = events::table.filter(events::seq.gt(after)).filter(events::seq.le(up_to)).order(events::seq);
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
