//! The exchanges and queues of the platform, declared by every service that connects, again after every reconnect.
//!
//! Working queues and dead-letter queues are declared by everybody, so that a message has a place before its consumer starts
//! for the first time. The delay queues of a working queue are declared by whoever consumes it.

use std::time::Duration;

use auth_events::{
    commands::Lane,
    routing::{
        AUDIT_DEAD_QUEUE, AUDIT_QUEUE, COMMANDS_EXCHANGE, DEAD_EXCHANGE, EVENTS_EXCHANGE, MAILER_DEAD_QUEUE,
        RETRY_EXCHANGE, mailer_queue,
    },
};
use lapin::{
    Channel, Connection, Error, ErrorKind, ExchangeKind, Result,
    options::{ExchangeDeclareOptions, QueueBindOptions, QueueDeclareOptions},
    protocol::{AMQPErrorKind, AMQPSoftError},
    types::{AMQPValue, FieldTable},
};

/// How often the broker delivers a message whose handler dies before it moves it to the dead-letter queue. On RabbitMQ 3.10 there is no
/// limit unless a queue says so.
const DELIVERY_LIMIT: i64 = 5;

/// The steps of delayed redelivery.
pub const DELAYS: [(&str, Duration); 4] = [
    ("10s", Duration::from_secs(10)),
    ("1m", Duration::from_mins(1)),
    ("10m", Duration::from_mins(10)),
    ("1h", Duration::from_hours(1)),
];

/// The delay queue that brings messages back to `queue` after at least `delay`, or after an hour where that is less.
#[must_use]
pub fn delay_queue(queue: &str, delay: Duration) -> String {
    let step = DELAYS.iter().find(|(_, step)| *step >= delay).or(DELAYS.last());
    format!("{queue}.retry.{}", step.map_or("1h", |(name, _)| name))
}

/// Whether messages may be published to `exchange`. Publishing to one that is unknown would end the channel, and with it the
/// messages that are on their way.
pub(crate) fn is_known(exchange: &str) -> bool {
    [EVENTS_EXCHANGE, COMMANDS_EXCHANGE, RETRY_EXCHANGE, DEAD_EXCHANGE].contains(&exchange)
}

/// Declares what everybody needs, as far as the broker lets us: what belongs to another service is left to it where we may not touch it.
pub(crate) async fn declare(connection: &Connection) -> Result<()> {
    let mut scribe = Scribe { connection, channel: connection.create_channel().await? };
    for (name, kind) in [
        (EVENTS_EXCHANGE, ExchangeKind::Topic),
        (COMMANDS_EXCHANGE, ExchangeKind::Direct),
        (RETRY_EXCHANGE, ExchangeKind::Direct),
        (DEAD_EXCHANGE, ExchangeKind::Direct),
    ] {
        scribe.exchange(name, kind).await?;
    }
    for dead in [AUDIT_DEAD_QUEUE, MAILER_DEAD_QUEUE] {
        scribe.queue(dead, quorum(), &[(DEAD_EXCHANGE, dead)]).await?;
    }
    let way_back = (RETRY_EXCHANGE, AUDIT_QUEUE);
    scribe.queue(AUDIT_QUEUE, working(AUDIT_DEAD_QUEUE), &[(EVENTS_EXCHANGE, "#"), way_back]).await?;
    for lane in Lane::ALL {
        let queue = mailer_queue(*lane);
        let bindings = [(COMMANDS_EXCHANGE, queue), (RETRY_EXCHANGE, queue)];
        scribe.queue(queue, working(MAILER_DEAD_QUEUE), &bindings).await?;
    }
    // The connection would close it as well.
    let _ = scribe.channel.close(200, "OK".into()).await;
    Ok(())
}

/// Declares the delay queues of `queue`.
pub(crate) async fn declare_delays(channel: &Channel, queue: &str) -> Result<()> {
    for (_, delay) in DELAYS {
        let name = delay_queue(queue, delay);
        // By its own name in this exchange the message comes to exactly this queue: another consumer of the same event does not see it twice. The
        // default exchange would do the same, but who may write to that one may write to every queue.
        let mut arguments = dead_lettering(RETRY_EXCHANGE, queue);
        let ttl = i64::try_from(delay.as_millis()).unwrap_or(i64::MAX);
        arguments.insert("x-message-ttl".into(), AMQPValue::LongLongInt(ttl));
        declare_queue(channel, &name, arguments).await?;
        bind(channel, &name, RETRY_EXCHANGE, &name).await?;
    }
    Ok(())
}

/// Writes the topology down, and goes on after a refusal, with which the broker closes the channel.
struct Scribe<'a> {
    connection: &'a Connection,
    channel: Channel,
}

impl Scribe<'_> {
    async fn exchange(&mut self, name: &str, kind: ExchangeKind) -> Result<()> {
        let options = ExchangeDeclareOptions { durable: true, ..ExchangeDeclareOptions::default() };
        let declared = self.channel.exchange_declare(name.into(), kind, options, FieldTable::default()).await;
        self.unless_refused(declared).await.map(drop)
    }

    async fn queue(&mut self, name: &str, arguments: FieldTable, bindings: &[(&str, &str)]) -> Result<()> {
        let declared = declare_queue(&self.channel, name, arguments).await;
        let mut ours = self.unless_refused(declared).await?;
        for (exchange, key) in bindings {
            if ours {
                let bound = bind(&self.channel, name, exchange, key).await;
                ours = self.unless_refused(bound).await?;
            }
        }
        Ok(())
    }

    /// Whether we may; an error if it was something else than a refusal.
    async fn unless_refused(&mut self, outcome: Result<()>) -> Result<bool> {
        match outcome {
            Ok(()) => Ok(true),
            Err(error) if is_refusal(&error) => {
                tracing::debug!(%error, "Left something on the broker to its owner");
                self.channel = self.connection.create_channel().await?;
                Ok(false)
            }
            Err(error) => Err(error),
        }
    }
}

fn is_refusal(error: &Error) -> bool {
    let refused = AMQPErrorKind::Soft(AMQPSoftError::ACCESSREFUSED);
    matches!(error.kind(), ErrorKind::ProtocolError(error) if *error.kind() == refused)
}

async fn declare_queue(channel: &Channel, name: &str, arguments: FieldTable) -> Result<()> {
    channel.queue_declare(name.into(), QueueDeclareOptions::durable(), arguments).await.map(drop)
}

async fn bind(channel: &Channel, queue: &str, exchange: &str, key: &str) -> Result<()> {
    let options = QueueBindOptions::default();
    channel.queue_bind(queue.into(), exchange.into(), key.into(), options, FieldTable::default()).await
}

fn quorum() -> FieldTable {
    let mut arguments = FieldTable::default();
    arguments.insert("x-queue-type".into(), text("quorum"));
    arguments
}

fn working(dead_letter_queue: &str) -> FieldTable {
    let mut arguments = dead_lettering(DEAD_EXCHANGE, dead_letter_queue);
    arguments.insert("x-delivery-limit".into(), AMQPValue::LongLongInt(DELIVERY_LIMIT));
    arguments
}

/// At-least-once: the queue keeps a message until the queue that it is moved to has confirmed it. RabbitMQ wants `reject-publish` for that.
fn dead_lettering(exchange: &str, key: &str) -> FieldTable {
    let mut arguments = quorum();
    arguments.insert("x-dead-letter-exchange".into(), text(exchange));
    arguments.insert("x-dead-letter-routing-key".into(), text(key));
    arguments.insert("x-dead-letter-strategy".into(), text("at-least-once"));
    arguments.insert("x-overflow".into(), text("reject-publish"));
    arguments
}

fn text(value: &str) -> AMQPValue {
    AMQPValue::LongString(value.into())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_delay_is_never_shorter_than_asked_for() {
        let name = |seconds| delay_queue("q", Duration::from_secs(seconds));
        assert_eq!(name(0), "q.retry.10s");
        assert_eq!(name(10), "q.retry.10s");
        assert_eq!(name(11), "q.retry.1m");
        assert_eq!(name(601), "q.retry.1h");
        assert_eq!(name(86_400), "q.retry.1h");
    }
}
