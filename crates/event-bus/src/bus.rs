use std::sync::Arc;

use lapin::{options::QueueDeclareOptions, types::FieldTable};
use prometheus::Registry;
use secrecy::SecretString;
use tokio_util::sync::CancellationToken;

use crate::{
    BatchHandler, ConsumerSettings, Handler, Publisher,
    connection::Broker,
    link::Link,
    posting::Posting,
    publisher::PublishError,
    serving::{Batches, OneByOne},
    subscription::Subscription,
};

/// The broker, whether it is reachable right now or not. Clones share the connection.
#[derive(Clone)]
pub struct EventBus {
    broker: Arc<Broker>,
}

impl EventBus {
    /// Understands the URL (`amqp://` or `amqps://`) without connecting. `service` names the connection in the broker's management.
    pub fn new(url: &SecretString, service: &'static str, registry: &Registry) -> anyhow::Result<Self> {
        Ok(Self { broker: Broker::new(url, service, registry)? })
    }

    /// A publisher on this connection.
    #[must_use]
    pub fn publisher(&self) -> Publisher {
        Publisher::new(Arc::clone(&self.broker))
    }

    /// Whether the connection is up.
    #[must_use]
    pub fn is_connected(&self) -> bool {
        self.broker.current().is_some()
    }

    /// How many messages wait in `queue`, by a passive declaration.
    pub async fn queue_length(&self, queue: &str) -> anyhow::Result<u32> {
        // A channel of its own: asking for a queue that does not exist closes it.
        let link = self.broker.link().await?;
        let channel = link.answer(link.connection.create_channel()).await?;
        let passive = QueueDeclareOptions { passive: true, ..QueueDeclareOptions::default() };
        let declaring = channel.queue_declare(queue.into(), passive, FieldTable::default());
        Ok(link.answer(declaring).await?.message_count())
    }

    pub(crate) async fn link(&self) -> anyhow::Result<Arc<Link>> {
        self.broker.link().await
    }

    pub(crate) async fn publish_on(
        &self,
        link: &Arc<Link>,
        postings: &[Posting],
    ) -> Vec<Result<(), PublishError>> {
        self.broker.publish(link, postings).await
    }

    /// Consumes `settings.queue` one message at a time, up to `prefetch` at once, until `stop`; reconnects for ever. When stopped it takes no more,
    /// waits for the handlers that run and returns; what was not acknowledged goes back to the queue.
    pub async fn consume<H: Handler>(&self, settings: ConsumerSettings, handler: H, stop: CancellationToken) {
        Subscription::new(Arc::clone(&self.broker), settings, stop).keep_up(&OneByOne(handler)).await;
    }

    /// Like [`EventBus::consume`], but hands over batches of up to `batch_size` that waited no longer than `batch_wait`.
    pub async fn consume_batches<H: BatchHandler>(
        &self,
        settings: ConsumerSettings,
        handler: H,
        stop: CancellationToken,
    ) {
        Subscription::new(Arc::clone(&self.broker), settings, stop).keep_up(&Batches(handler)).await;
    }
}
