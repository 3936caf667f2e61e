use auth_events::{Envelope, Fact, FactDetail, commands::MailSend, routing::Route};
use auth_ids::GenericUuid;
use pg::AsyncPgConnection;
use serde::Serialize;

use crate::store::{self, NewMessage};

/// Stores a fact; it continues the current trace. Call it inside the transaction that makes it true.
pub async fn append_fact<D: FactDetail>(
    conn: &mut AsyncPgConnection,
    event: Envelope<Fact<D>>,
) -> pg::Result<()> {
    let route = Route::fact(&event.r#type);
    append(conn, route, event).await
}

/// Stores a mail command; it continues the current trace.
pub async fn append_mail(conn: &mut AsyncPgConnection, command: Envelope<MailSend>) -> pg::Result<()> {
    let route = Route::mail(command.data.lane);
    append(conn, route, command).await
}

async fn append<T: Serialize>(
    conn: &mut AsyncPgConnection,
    route: Route,
    envelope: Envelope<T>,
) -> pg::Result<()> {
    let traceparent = telemetry::propagation::current_traceparent().or(envelope.traceparent.clone());
    let envelope = envelope.with_traceparent(traceparent.clone());
    let payload = serde_json::to_string(&envelope)
        .map_err(|error| diesel::result::Error::SerializationError(error.into()))?;
    let message = NewMessage {
        id: envelope.id.into_untyped_uuid(),
        exchange: route.exchange,
        routing_key: route.routing_key,
        message_type: format!("{}.v{}", envelope.r#type, envelope.version),
        traceparent,
        payload,
    };
    store::insert(conn, message).await
}
