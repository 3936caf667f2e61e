//! Rows of the log, as they are read.

use auth_events::{Client, Target};
use auth_ids::{EventId, GenericUuid, Uuid};
use chrono::{DateTime, Utc};
use diesel::prelude::*;
use diesel_async::{AsyncPgConnection, RunQueryDsl};

use crate::domain::{RecordedEvent, personal::Owner};

diesel::table! {
    events (seq) {
        class -> Text,
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
        request_id -> Nullable<Text>,
        trace_id -> Nullable<Text>,
        detail -> Json,
        sealed_client -> Nullable<Binary>,
        sealed_detail -> Nullable<Binary>,
        prev_hash -> Binary,
        hash -> Binary,
    }
}

diesel::table! {
    event_ids (id) {
        id -> Uuid,
        class -> Text,
        seq -> BigInt,
        recorded_at -> Timestamptz,
    }
}

diesel::table! {
    ip_tags (seq) {
        seq -> BigInt,
        tag -> Binary,
    }
}

diesel::allow_tables_to_appear_in_same_query!(events, event_ids, ip_tags);

/// An event with its personal parts sealed.
#[derive(Debug, Clone, PartialEq)]
pub struct StoredEvent {
    /// Without the address, the user agent, a user's name, and what of the detail is personal.
    pub event: RecordedEvent,
    pub sealed_client: Option<Vec<u8>>,
    pub sealed_detail: Option<Vec<u8>>,
}

impl StoredEvent {
    /// Whose keys open it.
    pub fn owners(&self) -> impl Iterator<Item = Owner> {
        let client = self.sealed_client.is_some().then(|| self.client_owner());
        client.into_iter().chain(self.sealed_detail.is_some().then(|| self.detail_owner()))
    }

    /// Whose the sealed client is.
    #[must_use]
    pub fn client_owner(&self) -> Owner {
        Owner::of_client(&self.event.actor_kind, self.event.actor_id, self.event.subject_id)
    }

    /// Whose the sealed detail is.
    #[must_use]
    pub fn detail_owner(&self) -> Owner {
        Owner::of_detail(&self.event.actor_kind, self.event.actor_id, self.event.subject_id)
    }
}

/// One event.
pub async fn find(conn: &mut AsyncPgConnection, id: EventId) -> pg::Result<Option<StoredEvent>> {
    // Where it is names its partition; the event alone would be looked for in every month.
    let place = event_ids::table
        .select((event_ids::class, event_ids::seq, event_ids::recorded_at))
        .find(id.into_untyped_uuid());
    let place: Option<(String, i64, DateTime<Utc>)> = place.first(conn).await.optional()?;
    let Some((class, seq, recorded_at)) = place else { return Ok(None) };
    let query = events::table
        .select(EventRow::as_select())
        .filter(events::class.eq(class))
        .filter(events::seq.eq(seq))
        .filter(events::recorded_at.eq(recorded_at));
    let row: Option<EventRow> = query.first(conn).await.optional()?;
    Ok(row.map(StoredEvent::from))
}

/// A row as it is read.
#[derive(Queryable, QueryableByName, Selectable)]
#[diesel(table_name = events, check_for_backend(diesel::pg::Pg))]
pub(super) struct EventRow {
    class: String,
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
    request_id: Option<String>,
    trace_id: Option<String>,
    detail: serde_json::Value,
    sealed_client: Option<Vec<u8>>,
    sealed_detail: Option<Vec<u8>>,
    prev_hash: Vec<u8>,
    hash: Vec<u8>,
}

impl From<EventRow> for StoredEvent {
    fn from(row: EventRow) -> Self {
        let event = RecordedEvent {
            seq: row.seq,
            class: row.class,
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
            client: Client { ip: None, user_agent: None, request_id: row.request_id },
            trace_id: row.trace_id,
            detail: row.detail,
            erased: false,
            prev_hash: row.prev_hash,
            hash: row.hash,
        };
        Self { event, sealed_client: row.sealed_client, sealed_detail: row.sealed_detail }
    }
}
