use auth_events::{Envelope, Fact, FactDetail, routing::Route};
use auth_ids::GenericUuid;
use diesel::{
    QueryResult,
    pg::Pg,
    query_builder::AstPass,
    sql_types::{Nullable, Text, Uuid as SqlUuid},
};
use serde::Serialize;

use crate::store::NewMessage;

/// A message as data for a statement that does two things at once: changes something, and stores the message if it did. Where change and message are
/// statements of their own, in a transaction, [`append_fact`](crate::append_fact) is simpler.
pub struct Row(pub(crate) NewMessage);

impl Row {
    /// A fact, which continues the current trace.
    pub fn of_fact<D: FactDetail>(event: Envelope<Fact<D>>) -> pg::Result<Self> {
        let route = Route::fact(&event.r#type);
        Self::new(route, event)
    }

    pub(crate) fn new<T: Serialize>(route: Route, envelope: Envelope<T>) -> pg::Result<Self> {
        let traceparent = telemetry::propagation::current_traceparent().or(envelope.traceparent.clone());
        let envelope = envelope.with_traceparent(traceparent.clone());
        let payload = serde_json::to_string(&envelope)
            .map_err(|error| diesel::result::Error::SerializationError(error.into()))?;
        Ok(Self(NewMessage {
            id: envelope.id.into_untyped_uuid(),
            exchange: route.exchange,
            routing_key: route.routing_key,
            message_type: format!("{}.v{}", envelope.r#type, envelope.version),
            traceparent,
            payload,
        }))
    }

    /// Writes the `INSERT` that stores the message if `source` has a row, which must not have more than one. What stands before it in the
    /// statement, `WITH source AS (…)`, is the caller's.
    pub fn insert_if<'b>(&'b self, source: &'static str, out: &mut AstPass<'_, 'b, Pg>) -> QueryResult<()> {
        let Self(message) = self;
        out.push_sql(
            "INSERT INTO outbox (id, exchange, routing_key, message_type, traceparent, payload) SELECT ",
        );
        out.push_bind_param::<SqlUuid, _>(&message.id)?;
        for text in [message.exchange, &message.routing_key, &message.message_type] {
            out.push_sql(", ");
            out.push_bind_param::<Text, str>(text)?;
        }
        out.push_sql(", ");
        out.push_bind_param::<Nullable<Text>, _>(&message.traceparent)?;
        out.push_sql(", ");
        out.push_bind_param::<Text, _>(&message.payload)?;
        out.push_sql(" FROM ");
        out.push_sql(source);
        Ok(())
    }
}
