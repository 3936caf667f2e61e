//! The ends of the chains, and how rows get there.

use std::collections::{BTreeMap, HashSet};

use auth_ids::{GenericUuid, Uuid};
use chrono::{DateTime, Utc};
use diesel::{
    QueryableByName, sql_query,
    sql_types::{Array, BigInt, Binary, Integer, Nullable, Text, Timestamptz, Uuid as SqlUuid},
};
use diesel_async::{AsyncPgConnection, RunQueryDsl};

use crate::domain::{
    Class, Event,
    chain::{GENESIS, Hash},
};

/// The last row of a chain.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Head {
    /// 0 before the first row.
    pub seq: i64,
    pub position: i64,
    pub hash: Hash,
}

/// The ends of all chains.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Heads {
    pub chains: BTreeMap<Class, Head>,
    /// Not before anything that is recorded.
    pub now: DateTime<Utc>,
}

/// A row that is ready to be stored.
#[derive(Debug)]
pub struct NewRow<'a> {
    pub event: &'a Event,
    pub class: Class,
    pub seq: i64,
    pub position: i64,
    pub recorded_at: DateTime<Utc>,
    pub actor_name: Option<&'a str>,
    pub detail: &'a str,
    pub sealed_client: Option<&'a [u8]>,
    pub sealed_detail: Option<&'a [u8]>,
    pub prev_hash: Hash,
    pub hash: Hash,
}

/// What finds a row by its address.
#[derive(Debug)]
pub struct NewTag {
    pub class: Class,
    pub seq: i64,
    pub recorded_at: DateTime<Utc>,
    pub tag: Vec<u8>,
    pub owner_id: Option<Uuid>,
}

#[derive(QueryableByName)]
struct HeadRow {
    #[diesel(sql_type = Text)]
    class: String,
    #[diesel(sql_type = BigInt)]
    seq: i64,
    #[diesel(sql_type = BigInt)]
    position: i64,
    #[diesel(sql_type = Binary)]
    hash: Vec<u8>,
    #[diesel(sql_type = Timestamptz)]
    now: DateTime<Utc>,
}

#[derive(QueryableByName)]
struct KnownRow {
    #[diesel(sql_type = SqlUuid)]
    id: Uuid,
}

const HEADS: &str = "SELECT class, seq, position, hash, \
                     CASE WHEN recorded_at > clock_timestamp() THEN recorded_at ELSE clock_timestamp() END AS now \
                     FROM chain_heads ORDER BY class";
const LOCKED_HEADS: &str = "SELECT class, seq, position, hash, \
                     CASE WHEN recorded_at > clock_timestamp() THEN recorded_at ELSE clock_timestamp() END AS now \
                     FROM chain_heads ORDER BY class FOR UPDATE";

/// Everything that an append changes, in one round trip.
const APPEND: &str = "\
WITH batch AS (\
    SELECT * FROM unnest($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14, $15, $16, $17, $18, $19, $20, $21, $22, $23, $24, $25) \
    AS batch (class, seq, position, id, type, version, source, occurred_at, recorded_at, subject_id, actor_kind, actor_id, \
        actor_name, outcome, severity, reason, target_kind, target_id, request_id, trace_id, detail, sealed_client, sealed_detail, \
        prev_hash, hash)\
), appended AS (\
    INSERT INTO events (class, seq, position, id, type, version, source, occurred_at, recorded_at, subject_id, actor_kind, actor_id, \
        actor_name, outcome, severity, reason, target_kind, target_id, request_id, trace_id, detail, sealed_client, sealed_detail, \
        prev_hash, hash) \
    SELECT class, seq, position, id, type, version, source, occurred_at, recorded_at, subject_id, actor_kind, actor_id, \
        actor_name, outcome, severity, reason, target_kind, target_id, request_id, trace_id, detail::json, sealed_client, sealed_detail, \
        prev_hash, hash FROM batch\
), remembered AS (\
    INSERT INTO event_ids (id, class, seq, recorded_at) SELECT id, class, seq, recorded_at FROM batch\
), tagged AS (\
    INSERT INTO ip_tags (class, recorded_at, seq, tag, owner_id) \
    SELECT class, recorded_at, seq, tag, owner_id FROM unnest($26, $27, $28, $29, $30) AS tags (class, recorded_at, seq, tag, owner_id)\
) \
UPDATE chain_heads SET (seq, position, hash, recorded_at) = (last.seq, last.position, last.hash, last.recorded_at) \
FROM (SELECT DISTINCT ON (class) class, seq, position, hash, recorded_at FROM batch ORDER BY class, seq DESC) AS last \
WHERE chain_heads.class = last.class";

/// The ends of all chains as they are now.
pub async fn heads(conn: &mut AsyncPgConnection) -> pg::Result<Heads> {
    Ok(into_heads(sql_query(HEADS).load(conn).await?))
}

/// The same, and nobody else appends before this transaction ends. Without that two replicas could fork a chain, or commit in
/// another order than that of their `seq`, and who reads along would miss rows.
pub async fn lock_heads(conn: &mut AsyncPgConnection) -> pg::Result<Heads> {
    Ok(into_heads(sql_query(LOCKED_HEADS).load(conn).await?))
}

/// Which of these events the log has.
pub async fn known(conn: &mut AsyncPgConnection, ids: &[Uuid]) -> pg::Result<HashSet<Uuid>> {
    let query = sql_query("SELECT id FROM event_ids WHERE id = ANY($1)").bind::<Array<SqlUuid>, _>(ids);
    let rows: Vec<KnownRow> = query.load(conn).await?;
    Ok(rows.into_iter().map(|row| row.id).collect())
}

/// Stores rows at the end of their chains, whose lock the caller holds.
pub async fn append(conn: &mut AsyncPgConnection, rows: &[NewRow<'_>], tags: &[NewTag]) -> pg::Result<()> {
    type Texts<'a> = Vec<&'a str>;
    type OptionalTexts<'a> = Vec<Option<&'a str>>;
    type OptionalBytes<'a> = Vec<Option<&'a [u8]>>;
    let each = rows.iter();
    let events = rows.iter().map(|row| row.event);
    sql_query(APPEND)
        .bind::<Array<Text>, _>(each.clone().map(|row| row.class.name()).collect::<Texts<'_>>())
        .bind::<Array<BigInt>, _>(each.clone().map(|row| row.seq).collect::<Vec<_>>())
        .bind::<Array<BigInt>, _>(each.clone().map(|row| row.position).collect::<Vec<_>>())
        .bind::<Array<SqlUuid>, _>(events.clone().map(|e| e.id.into_untyped_uuid()).collect::<Vec<_>>())
        .bind::<Array<Text>, _>(events.clone().map(|e| &*e.name).collect::<Texts<'_>>())
        .bind::<Array<Integer>, _>(events.clone().map(|e| i32::from(e.version)).collect::<Vec<_>>())
        .bind::<Array<Text>, _>(events.clone().map(|e| &*e.source).collect::<Texts<'_>>())
        .bind::<Array<Timestamptz>, _>(events.clone().map(|e| e.occurred_at).collect::<Vec<_>>())
        .bind::<Array<Timestamptz>, _>(each.clone().map(|row| row.recorded_at).collect::<Vec<_>>())
        .bind::<Array<Nullable<SqlUuid>>, _>(
            events.clone().map(|e| e.subject_id.map(GenericUuid::into_untyped_uuid)).collect::<Vec<_>>(),
        )
        .bind::<Array<Text>, _>(events.clone().map(|e| e.actor.kind.name()).collect::<Texts<'_>>())
        .bind::<Array<Nullable<SqlUuid>>, _>(events.clone().map(|e| e.actor.id).collect::<Vec<_>>())
        .bind::<Array<Nullable<Text>>, _>(each.clone().map(|row| row.actor_name).collect::<Vec<_>>())
        .bind::<Array<Text>, _>(events.clone().map(|e| e.outcome.name()).collect::<Texts<'_>>())
        .bind::<Array<Text>, _>(events.clone().map(|e| e.severity.name()).collect::<Texts<'_>>())
        .bind::<Array<Nullable<Text>>, _>(
            events.clone().map(|e| e.reason.as_deref()).collect::<OptionalTexts<'_>>(),
        )
        .bind::<Array<Nullable<Text>>, _>(
            events.clone().map(|e| e.target.as_ref().map(|it| &*it.kind)).collect::<OptionalTexts<'_>>(),
        )
        .bind::<Array<Nullable<Text>>, _>(
            events.clone().map(|e| e.target.as_ref().map(|it| &*it.id)).collect::<OptionalTexts<'_>>(),
        )
        .bind::<Array<Nullable<Text>>, _>(
            events.clone().map(|e| e.client.request_id.as_deref()).collect::<OptionalTexts<'_>>(),
        )
        .bind::<Array<Nullable<Text>>, _>(
            events.map(|e| e.trace_id.as_deref()).collect::<OptionalTexts<'_>>(),
        )
        .bind::<Array<Text>, _>(each.clone().map(|row| row.detail).collect::<Texts<'_>>())
        .bind::<Array<Nullable<Binary>>, _>(
            each.clone().map(|row| row.sealed_client).collect::<OptionalBytes<'_>>(),
        )
        .bind::<Array<Nullable<Binary>>, _>(
            each.clone().map(|row| row.sealed_detail).collect::<OptionalBytes<'_>>(),
        )
        .bind::<Array<Binary>, _>(each.clone().map(|row| row.prev_hash.as_slice()).collect::<Vec<_>>())
        .bind::<Array<Binary>, _>(each.map(|row| row.hash.as_slice()).collect::<Vec<_>>())
        .bind::<Array<Text>, _>(tags.iter().map(|tag| tag.class.name()).collect::<Texts<'_>>())
        .bind::<Array<Timestamptz>, _>(tags.iter().map(|tag| tag.recorded_at).collect::<Vec<_>>())
        .bind::<Array<BigInt>, _>(tags.iter().map(|tag| tag.seq).collect::<Vec<_>>())
        .bind::<Array<Binary>, _>(tags.iter().map(|tag| tag.tag.as_slice()).collect::<Vec<_>>())
        .bind::<Array<Nullable<SqlUuid>>, _>(tags.iter().map(|tag| tag.owner_id).collect::<Vec<_>>())
        .execute(conn)
        .await?;
    Ok(())
}

impl Heads {
    /// The highest `seq` of the log.
    #[must_use]
    pub fn seq(&self) -> i64 {
        self.chains.values().map(|head| head.seq).max().unwrap_or_default()
    }

    /// The end of one chain.
    #[must_use]
    pub fn of(&self, class: Class) -> Head {
        self.chains.get(&class).copied().unwrap_or(Head::START)
    }
}

impl Head {
    /// Before the first row.
    pub const START: Self = Self { seq: 0, position: 0, hash: GENESIS };
}

fn into_heads(rows: Vec<HeadRow>) -> Heads {
    let now = rows.iter().map(|row| row.now).max().unwrap_or_default();
    let chains = rows.into_iter().filter_map(|row| {
        let hash = row.hash.try_into().ok()?;
        Some((Class::parse(&row.class)?, Head { seq: row.seq, position: row.position, hash }))
    });
    Heads { chains: chains.collect(), now }
}
