//! Rows of the log: appended and read, never changed.

use auth_events::{Client, Target};
use auth_ids::{EventId, GenericUuid, Uuid};
use chrono::{DateTime, Utc};
use diesel::{
    connection::CacheSize,
    prelude::*,
    sql_query,
    sql_types::{Array, BigInt, Inet, Integer, Jsonb, Nullable, Text, Timestamptz},
};
use diesel_async::{AsyncConnection, AsyncPgConnection, RunQueryDsl};
use ipnet::IpNet;

use crate::domain::{Event, Filter, RecordedEvent, TypeFilter};

diesel::table! {
    events (seq) {
        seq -> BigInt,
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
        ip -> Nullable<Inet>,
        user_agent -> Nullable<Text>,
        request_id -> Nullable<Text>,
        trace_id -> Nullable<Text>,
        detail -> Jsonb,
    }
}

/// The advisory lock of the log's end; the number is "audit" in ASCII.
const END_OF_LOG: i64 = 0x61_75_64_69_74;

const APPEND: &str = "\
INSERT INTO events (id, type, version, source, occurred_at, subject_id, actor_kind, actor_id, actor_name, outcome, severity, \
reason, target_kind, target_id, ip, user_agent, request_id, trace_id, detail) \
SELECT id, type, version, source, occurred_at, subject_id, actor_kind, actor_id, actor_name, outcome, severity, \
reason, target_kind, target_id, ip, user_agent, request_id, trace_id, detail \
FROM unnest($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14, $15, $16, $17, $18, $19) WITH ORDINALITY \
AS batch (id, type, version, source, occurred_at, subject_id, actor_kind, actor_id, actor_name, outcome, severity, \
reason, target_kind, target_id, ip, user_agent, request_id, trace_id, detail, position) \
ORDER BY position \
ON CONFLICT (id) DO NOTHING \
RETURNING type";

/// Makes other appenders wait until this transaction ends. Without it two replicas could commit in another order than that
/// of their `seq`, and who reads along would miss rows.
pub async fn lock_end(conn: &mut AsyncPgConnection) -> pg::Result<()> {
    sql_query("SELECT pg_advisory_xact_lock($1)").bind::<BigInt, _>(END_OF_LOG).execute(conn).await?;
    Ok(())
}

/// Appends the events that the log does not have yet, in their order, and says which types these had.
pub async fn append(conn: &mut AsyncPgConnection, events: &[Event]) -> pg::Result<Vec<String>> {
    type Texts<'a> = Vec<&'a str>;
    type OptionalTexts<'a> = Vec<Option<&'a str>>;
    let each = events.iter();
    let appended: Vec<Appended> = sql_query(APPEND)
        .bind::<Array<diesel::sql_types::Uuid>, _>(each.clone().map(|e| untyped(e.id)).collect::<Vec<_>>())
        .bind::<Array<Text>, _>(each.clone().map(|e| &*e.name).collect::<Texts<'_>>())
        .bind::<Array<Integer>, _>(each.clone().map(|e| i32::from(e.version)).collect::<Vec<_>>())
        .bind::<Array<Text>, _>(each.clone().map(|e| &*e.source).collect::<Texts<'_>>())
        .bind::<Array<Timestamptz>, _>(each.clone().map(|e| e.occurred_at).collect::<Vec<_>>())
        .bind::<Array<Nullable<diesel::sql_types::Uuid>>, _>(
            each.clone().map(|e| e.subject_id.map(GenericUuid::into_untyped_uuid)).collect::<Vec<_>>(),
        )
        .bind::<Array<Text>, _>(each.clone().map(|e| e.actor.kind.name()).collect::<Texts<'_>>())
        .bind::<Array<Nullable<diesel::sql_types::Uuid>>, _>(
            each.clone().map(|e| e.actor.id).collect::<Vec<_>>(),
        )
        .bind::<Array<Nullable<Text>>, _>(
            each.clone().map(|e| e.actor.name.as_deref()).collect::<OptionalTexts<'_>>(),
        )
        .bind::<Array<Text>, _>(each.clone().map(|e| e.outcome.name()).collect::<Texts<'_>>())
        .bind::<Array<Text>, _>(each.clone().map(|e| e.severity.name()).collect::<Texts<'_>>())
        .bind::<Array<Nullable<Text>>, _>(
            each.clone().map(|e| e.reason.as_deref()).collect::<OptionalTexts<'_>>(),
        )
        .bind::<Array<Nullable<Text>>, _>(
            each.clone()
                .map(|e| e.target.as_ref().map(|target| &*target.kind))
                .collect::<OptionalTexts<'_>>(),
        )
        .bind::<Array<Nullable<Text>>, _>(
            each.clone().map(|e| e.target.as_ref().map(|target| &*target.id)).collect::<OptionalTexts<'_>>(),
        )
        .bind::<Array<Nullable<Inet>>, _>(
            each.clone().map(|e| e.client.ip.map(IpNet::from)).collect::<Vec<_>>(),
        )
        .bind::<Array<Nullable<Text>>, _>(
            each.clone().map(|e| e.client.user_agent.as_deref()).collect::<OptionalTexts<'_>>(),
        )
        .bind::<Array<Nullable<Text>>, _>(
            each.clone().map(|e| e.client.request_id.as_deref()).collect::<OptionalTexts<'_>>(),
        )
        .bind::<Array<Nullable<Text>>, _>(
            each.clone().map(|e| e.trace_id.as_deref()).collect::<OptionalTexts<'_>>(),
        )
        .bind::<Array<Jsonb>, _>(each.map(|e| &e.detail).collect::<Vec<_>>())
        .load(conn)
        .await?;
    Ok(appended.into_iter().map(|row| row.name).collect())
}

/// The newest events below `before` that match `filter`, at most `limit`.
pub async fn search(
    conn: &mut AsyncPgConnection,
    filter: &Filter,
    before: Option<i64>,
    limit: i64,
) -> pg::Result<Vec<RecordedEvent>> {
    // A prepared plan is made for any type and actor; for a rare one it walks the whole table.
    conn.set_prepared_statement_cache_size(CacheSize::Disabled);
    let mut query =
        events::table.select(EventRow::as_select()).order(events::seq.desc()).limit(limit).into_boxed();
    if let Some(before) = before {
        query = query.filter(events::seq.lt(before));
    }
    match &filter.r#type {
        Some(TypeFilter::Exact(name)) => query = query.filter(events::name.eq(name)),
        // As in the index `events_domain`, to the letter: a parameter in place of a literal would not be recognised.
        Some(TypeFilter::Domain(domain)) => {
            query = query.filter(diesel::dsl::sql::<Text>("split_part(type, '.', 1)").eq(domain));
        }
        None => {}
    }
    if let Some(outcome) = filter.outcome {
        query = query.filter(events::outcome.eq(outcome.name()));
    }
    if let Some(actor) = filter.actor_id {
        query = query.filter(events::actor_id.eq(actor));
    }
    if let Some(subject) = filter.subject_id {
        query = query.filter(events::subject_id.eq(subject));
    }
    if let Some(ip) = filter.ip {
        query = query.filter(events::ip.eq(IpNet::from(ip)));
    }
    if let Some(from) = filter.from {
        query = query.filter(events::occurred_at.ge(from));
    }
    if let Some(to) = filter.to {
        query = query.filter(events::occurred_at.lt(to));
    }
    if let Some(request_id) = &filter.request_id {
        query = query.filter(events::request_id.eq(request_id));
    }
    let rows: Vec<EventRow> = query.load(conn).await?;
    Ok(rows.into_iter().map(RecordedEvent::from).collect())
}

/// One event.
pub async fn find(conn: &mut AsyncPgConnection, id: EventId) -> pg::Result<Option<RecordedEvent>> {
    let query = events::table.select(EventRow::as_select()).filter(events::id.eq(id.into_untyped_uuid()));
    let row: Option<EventRow> = query.first(conn).await.optional()?;
    Ok(row.map(RecordedEvent::from))
}

fn untyped(id: EventId) -> Uuid {
    id.into_untyped_uuid()
}

#[derive(QueryableByName)]
struct Appended {
    #[diesel(sql_type = Text, column_name = "type")]
    name: String,
}

#[derive(Queryable, Selectable)]
#[diesel(table_name = events, check_for_backend(diesel::pg::Pg))]
struct EventRow {
    seq: i64,
    id: Uuid,
    name: String,
    version: i32,
    source: String,
    occurred_at: DateTime<Utc>,
    recorded_at: DateTime<Utc>,
    subject_id: Option<Uuid>,
    actor_kind: String,
    actor_id: Option<Uuid>,
    actor_name: Option<String>,
    outcome: String,
    severity: String,
    reason: Option<String>,
    target_kind: Option<String>,
    target_id: Option<String>,
    ip: Option<IpNet>,
    user_agent: Option<String>,
    request_id: Option<String>,
    trace_id: Option<String>,
    detail: serde_json::Value,
}

impl From<EventRow> for RecordedEvent {
    fn from(row: EventRow) -> Self {
        Self {
            seq: row.seq,
            id: row.id,
            name: row.name,
            version: row.version,
            source: row.source,
            occurred_at: row.occurred_at,
            recorded_at: row.recorded_at,
            subject_id: row.subject_id,
            actor_kind: row.actor_kind,
            actor_id: row.actor_id,
            actor_name: row.actor_name,
            outcome: row.outcome,
            severity: row.severity,
            reason: row.reason,
            target: row.target_kind.zip(row.target_id).map(|(kind, id)| Target { kind, id }),
            client: Client {
                ip: row.ip.map(|ip| ip.addr()),
                user_agent: row.user_agent,
                request_id: row.request_id,
            },
            trace_id: row.trace_id,
            detail: row.detail,
        }
    }
}
