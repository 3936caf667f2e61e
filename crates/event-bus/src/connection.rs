use prometheus::Registry;
use secrecy::SecretString;
use tokio_util::sync::CancellationToken;

use crate::{BatchHandler, ConsumerSettings, Handler, Publisher};

/// The broker, whether it is reachable right now or not. Clones share the connection.
#[derive(Clone)]
pub struct EventBus {}

impl EventBus {
    /// Understands the URL (`amqp://` or `amqps://`) without connecting. `service` names the connection in the broker's management.
    pub fn new(_url: &SecretString, _service: &'static str, _registry: &Registry) -> anyhow::Result<Self> {
        todo!()
    }

    /// A publisher on this connection.
    pub fn publisher(&self) -> Publisher {
        todo!()
    }

    /// Whether the connection is up.
    pub fn is_connected(&self) -> bool {
        todo!()
    }

    /// How many messages wait in `queue`, by a passive declaration.
    pub async fn queue_length(&self, _queue: &str) -> anyhow::Result<u32> {
        todo!()
    }

    /// Consumes `settings.queue` one message at a time, up to `prefetch` at once, until `stop`; reconnects for ever. When stopped it takes no more,
    /// waits for the handlers that run and returns; what was not acknowledged goes back to the queue.
    pub async fn consume<H: Handler>(&self, _settings: ConsumerSettings, _handler: H, _stop: CancellationToken) {
        todo!()
    }

    /// Like [`EventBus::consume`], but hands over batches of up to `batch_size` that waited no longer than `batch_wait`.
    pub async fn consume_batches<H: BatchHandler>(&self, _settings: ConsumerSettings, _handler: H, _stop: CancellationToken) {
        todo!()
    }
}
