use std::time::Duration;

use auth_events::routing::{DEAD_EXCHANGE, EVENTS_EXCHANGE, RETRY_EXCHANGE};
use lapin::{
    BasicProperties,
    message::Delivery,
    types::{AMQPValue, FieldTable, ShortString},
};

use crate::{Sequence, publisher::OutgoingMessage};

/// Counts how often a message went through a delay queue.
const ATTEMPT: &str = "x-attempt";

/// All headers of a message have to fit one frame.
const LONGEST_REASON: usize = 1_000;

/// A message in the words of AMQP.
pub(crate) struct Posting {
    pub(crate) exchange: String,
    pub(crate) routing_key: String,
    pub(crate) properties: BasicProperties,
    pub(crate) payload: Vec<u8>,
    /// A fact that is new: it gets a number.
    pub(crate) is_new_fact: bool,
}

impl Posting {
    pub(crate) fn from_outgoing(message: OutgoingMessage) -> Self {
        let mut headers = FieldTable::default();
        if let Some(traceparent) = message.traceparent {
            headers.insert("traceparent".into(), text(traceparent));
        }
        let properties = BasicProperties::default()
            .with_content_type("application/cloudevents+json".into())
            .with_delivery_mode(PERSISTENT)
            .with_message_id(shortened(message.message_id))
            .with_type(shortened(message.message_type))
            .with_headers(headers);
        Self {
            exchange: message.route.exchange.to_owned(),
            routing_key: message.route.routing_key,
            properties,
            payload: message.payload,
            is_new_fact: message.route.exchange == EVENTS_EXCHANGE,
        }
    }

    /// Its properties with where it stands among the facts of the connection.
    pub(crate) fn numbered(&self, sequence: Option<Sequence>) -> BasicProperties {
        let mut properties = self.properties.clone();
        if let Some(sequence) = sequence {
            let mut headers = properties.headers().clone().unwrap_or_default();
            sequence.write(&mut headers);
            properties = properties.with_headers(headers);
        }
        properties
    }

    /// The same message for the delay queue `delay_queue`, which it leaves after `delay` if that is sooner than others do.
    pub(crate) fn delayed(delivery: &Delivery, delay_queue: String, delay: Duration) -> Self {
        let attempts = match headers(delivery).inner().get(ATTEMPT) {
            Some(AMQPValue::LongLongInt(attempts)) => *attempts,
            _ => 0,
        };
        let delayed = Self::forwarded(delivery, RETRY_EXCHANGE, delay_queue, |headers| {
            headers.insert(ATTEMPT.into(), AMQPValue::LongLongInt(attempts.saturating_add(1)));
        });
        // The queue has a limit of its own; the broker goes by the shorter one, and drops this one when the message leaves.
        let expiration = delay.as_millis().to_string().into();
        Self { properties: delayed.properties.with_expiration(expiration), ..delayed }
    }

    /// The same message once more for `exchange`, as if it had never been refused.
    pub(crate) fn redriven(delivery: &Delivery, exchange: &str, routing_key: String) -> Self {
        let mut headers = FieldTable::default();
        for (name, value) in self::headers(delivery).inner() {
            let about_its_death =
                ["x-reason", "x-rejected-by", "x-queue", "x-death", "x-delivery-count", ATTEMPT];
            if !about_its_death.contains(&name.as_str()) && !name.as_str().starts_with("x-first-death") {
                headers.insert(name.clone(), value.clone());
            }
        }
        let properties = delivery.properties.clone().with_headers(headers).with_delivery_mode(PERSISTENT);
        Self {
            exchange: exchange.to_owned(),
            routing_key,
            properties,
            payload: delivery.data.clone(),
            is_new_fact: false,
        }
    }

    /// The same message for the dead-letter queue `dead_letter_queue`, with the reason.
    pub(crate) fn rejected(
        delivery: &Delivery,
        dead_letter_queue: &str,
        queue: &str,
        reason: &str,
        rejected_by: &str,
    ) -> Self {
        Self::forwarded(delivery, DEAD_EXCHANGE, dead_letter_queue.to_owned(), |headers| {
            headers.insert("x-reason".into(), text(reason.chars().take(LONGEST_REASON).collect::<String>()));
            headers.insert("x-rejected-by".into(), text(rejected_by));
            headers.insert("x-queue".into(), text(queue));
        })
    }

    pub(crate) fn message_id(&self) -> Option<&str> {
        self.properties.message_id().as_ref().map(ShortString::as_str)
    }

    fn forwarded(
        delivery: &Delivery,
        exchange: &str,
        routing_key: String,
        add: impl FnOnce(&mut FieldTable),
    ) -> Self {
        let mut headers = headers(delivery);
        add(&mut headers);
        let properties = delivery.properties.clone().with_headers(headers).with_delivery_mode(PERSISTENT);
        Self {
            exchange: exchange.to_owned(),
            routing_key,
            properties,
            payload: delivery.data.clone(),
            is_new_fact: false,
        }
    }
}

/// AMQP's name for what survives a restart of the broker.
const PERSISTENT: u8 = 2;

fn headers(delivery: &Delivery) -> FieldTable {
    delivery.properties.headers().clone().unwrap_or_default()
}

fn text(value: impl AsRef<[u8]>) -> AMQPValue {
    AMQPValue::LongString(value.as_ref().into())
}

/// AMQP has 255 bytes for these. Ours are shorter; a longer one must not make the library panic.
fn shortened(mut value: String) -> ShortString {
    let mut end = value.len().min(255);
    while !value.is_char_boundary(end) {
        end -= 1;
    }
    value.truncate(end);
    value.into()
}
