//! Names on the broker.

use crate::commands::Lane;

/// Topic exchange for facts; the routing key is the envelope's type.
pub const EVENTS_EXCHANGE: &str = "auth.events";
/// Direct exchange for commands; the routing key is the queue's name.
pub const COMMANDS_EXCHANGE: &str = "auth.commands";
/// Direct exchange for delayed redelivery; the routing key is a delay queue's name.
pub const RETRY_EXCHANGE: &str = "auth.retry";
/// Direct exchange for what was refused; the routing key is a dead-letter queue's name.
pub const DEAD_EXCHANGE: &str = "auth.dead";

/// The queue of the audit log: every fact.
pub const AUDIT_QUEUE: &str = "audit.events";
/// What the audit log could not understand.
pub const AUDIT_DEAD_QUEUE: &str = "audit.dead";
/// What the mailer could not understand or gave up on.
pub const MAILER_DEAD_QUEUE: &str = "mailer.dead";

/// The queue, and the routing key, of mail commands in `lane`.
#[must_use]
pub fn mailer_queue(lane: Lane) -> &'static str {
    match lane {
        Lane::Security => "mailer.send.security",
        Lane::Notice => "mailer.send.notice",
        Lane::Bulk => "mailer.send.bulk",
    }
}

/// Where a message is sent.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Route {
    /// The exchange.
    pub exchange: &'static str,
    /// The routing key.
    pub routing_key: String,
}

impl Route {
    /// The route of a fact of the envelope type `event_type`.
    #[must_use]
    pub fn fact(event_type: &str) -> Self {
        Self { exchange: EVENTS_EXCHANGE, routing_key: event_type.to_owned() }
    }

    /// The route of a mail command in `lane`.
    #[must_use]
    pub fn mail(lane: Lane) -> Self {
        Self { exchange: COMMANDS_EXCHANGE, routing_key: mailer_queue(lane).to_owned() }
    }
}
