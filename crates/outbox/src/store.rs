//! The table `outbox`.

use auth_events::routing::{COMMANDS_EXCHANGE, EVENTS_EXCHANGE, Route};
use diesel::{
    prelude::*,
    sql_types::{BigInt, Double},
};
use diesel_async::RunQueryDsl;
use event_bus::OutgoingMessage;
use pg::AsyncPgConnection;
use uuid::Uuid;

diesel::table! {
    outbox (id) {
        id -> Uuid,
        exchange -> Text,
        routing_key -> Text,
        message_type -> Text,
        traceparent -> Nullable<Text>,
        payload -> Text,
        created_at -> Timestamptz,
    }
}

/// A message to keep.
#[derive(Insertable)]
#[diesel(table_name = outbox, treat_none_as_default_value = false)]
pub(crate) struct NewMessage {
    pub(crate) id: Uuid,
    pub(crate) exchange: &'static str,
    pub(crate) routing_key: String,
    pub(crate) message_type: String,
    pub(crate) traceparent: Option<String>,
    pub(crate) payload: String,
}

/// A message that waits.
#[derive(Queryable, Selectable)]
#[diesel(table_name = outbox)]
pub(crate) struct StoredMessage {
    pub(crate) id: Uuid,
    exchange: String,
    routing_key: String,
    message_type: String,
    traceparent: Option<String>,
    payload: String,
}

impl StoredMessage {
    /// The message as it is published; `None` for an exchange that this release does not know.
    pub(crate) fn into_outgoing(self) -> Option<OutgoingMessage> {
        let exchange =
            [EVENTS_EXCHANGE, COMMANDS_EXCHANGE].into_iter().find(|known| *known == self.exchange)?;
        Some(OutgoingMessage {
            route: Route { exchange, routing_key: self.routing_key },
            message_id: self.id.to_string(),
            message_type: self.message_type,
            traceparent: self.traceparent,
            payload: self.payload.into_bytes(),
        })
    }
}

/// How much waits.
#[derive(QueryableByName)]
pub(crate) struct Backlog {
    #[diesel(sql_type = BigInt)]
    pub(crate) pending: i64,
    #[diesel(sql_type = Double)]
    pub(crate) oldest_seconds: f64,
}

pub(crate) async fn insert(conn: &mut AsyncPgConnection, message: NewMessage) -> pg::Result<()> {
    diesel::insert_into(outbox::table).values(message).execute(conn).await?;
    Ok(())
}

/// Locks the oldest messages that nobody else has locked, without those in `except`.
pub(crate) async fn lock_batch(
    conn: &mut AsyncPgConnection,
    size: i64,
    except: &[Uuid],
) -> pg::Result<Vec<StoredMessage>> {
    let batch = outbox::table
        .filter(outbox::id.ne_all(except))
        .order((outbox::created_at, outbox::id))
        .limit(size)
        .for_update()
        .skip_locked()
        .select(StoredMessage::as_select())
        .load(conn)
        .await?;
    Ok(batch)
}

pub(crate) async fn delete(conn: &mut AsyncPgConnection, ids: &[Uuid]) -> pg::Result<()> {
    diesel::delete(outbox::table.filter(outbox::id.eq_any(ids))).execute(conn).await?;
    Ok(())
}

/// Counts up to 100 000: this is asked twice a second, and a backlog is the wrong time for long scans.
pub(crate) async fn backlog(conn: &mut AsyncPgConnection) -> pg::Result<Backlog> {
    let query = "SELECT (SELECT count(*) FROM (SELECT FROM outbox LIMIT 100000) AS counted) AS pending,
        (SELECT coalesce(extract(epoch FROM clock_timestamp() - min(created_at)), 0)::float8 FROM outbox)
            AS oldest_seconds";
    Ok(diesel::sql_query(query).get_result(conn).await?)
}
