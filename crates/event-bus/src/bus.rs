use std::sync::{
    Arc,
    atomic::{AtomicBool, Ordering},
};

use lapin::{options::QueueDeclareOptions, types::FieldTable};
use prometheus::{
    Registry,
    core::{Collector, Desc},
    proto::MetricFamily,
};
use secrecy::SecretString;
use tokio_util::sync::CancellationToken;

use crate::{
    BatchHandler, ConsumerSettings, Handler, Publisher,
    connection::Broker,
    metrics::Metrics,
    serving::{Batches, OneByOne},
    subscription::Subscription,
};

/// The broker, whether it is reachable right now or not. Clones share the connections: one publishes, the other consumes, each made when it is
/// first needed. RabbitMQ stops reading from a connection that publishes while it is short of memory or disk, and acknowledgements must
/// not wait for that.
#[derive(Clone)]
pub struct EventBus {
    pub(crate) publishing: Arc<Broker>,
    pub(crate) consuming: Arc<Broker>,
    service: &'static str,
    /// Whether anybody ever consumed.
    consumes: Arc<AtomicBool>,
}

impl EventBus {
    /// Understands the URL (`amqp://` or `amqps://`) without connecting. `service` names the connections in the broker's management.
    pub fn new(url: &SecretString, service: &'static str, registry: &Registry) -> anyhow::Result<Self> {
        let metrics = Metrics::register(registry)?;
        let broker =
            |purpose| Broker::new(url, format!("{service} {purpose}"), metrics.clone()).map(Arc::new);
        let bus = Self {
            publishing: broker("publishing")?,
            consuming: broker("consuming")?,
            service,
            consumes: Arc::default(),
        };
        registry.register(Box::new(ConnectionsCollector(bus.clone())))?;
        Ok(bus)
    }

    /// A publisher.
    #[must_use]
    pub fn publisher(&self) -> Publisher {
        Publisher::new(Arc::clone(&self.publishing))
    }

    /// Whether the broker is connected. For a service that consumes only the connection counts by which it does.
    #[must_use]
    pub fn is_connected(&self) -> bool {
        let is_up = |broker: &Broker| broker.current().is_some();
        is_up(&self.consuming) || (!self.consumes.load(Ordering::Relaxed) && is_up(&self.publishing))
    }

    /// How many messages wait in `queue`, by a passive declaration.
    pub async fn queue_length(&self, queue: &str) -> anyhow::Result<u32> {
        // A channel of its own: asking for a queue that does not exist closes it.
        let link = self.consuming.link().await?;
        let channel = link.answer(link.connection.create_channel()).await?;
        let passive = QueueDeclareOptions { passive: true, ..QueueDeclareOptions::default() };
        let declaring = channel.queue_declare(queue.into(), passive, FieldTable::default());
        Ok(link.answer(declaring).await?.message_count())
    }

    /// Consumes `settings.queue` one message at a time, up to `prefetch` at once, until `stop`; reconnects for ever. When stopped it takes no more,
    /// waits for the handlers that run and returns; what was not acknowledged goes back to the queue.
    pub async fn consume<H: Handler>(&self, settings: ConsumerSettings, handler: H, stop: CancellationToken) {
        self.subscription(settings, stop).keep_up(&OneByOne(handler)).await;
    }

    /// Like [`EventBus::consume`], but hands over batches of up to `batch_size` that waited no longer than `batch_wait`.
    pub async fn consume_batches<H: BatchHandler>(
        &self,
        settings: ConsumerSettings,
        handler: H,
        stop: CancellationToken,
    ) {
        self.subscription(settings, stop).keep_up(&Batches(handler)).await;
    }

    fn subscription(&self, settings: ConsumerSettings, stop: CancellationToken) -> Subscription {
        self.consumes.store(true, Ordering::Relaxed);
        let (consuming, publishing) = (Arc::clone(&self.consuming), Arc::clone(&self.publishing));
        Subscription::new(consuming, publishing, self.service, settings, stop)
    }
}

/// Looks at the connections when it is scraped.
struct ConnectionsCollector(EventBus);

impl Collector for ConnectionsCollector {
    fn desc(&self) -> Vec<&Desc> {
        let metrics = &self.0.publishing.metrics;
        [metrics.connected.desc(), metrics.blocked.desc()].concat()
    }

    fn collect(&self) -> Vec<MetricFamily> {
        let metrics = &self.0.publishing.metrics;
        metrics.connected.set(i64::from(self.0.is_connected()));
        let is_blocked = self.0.publishing.current().is_some_and(|link| link.is_blocked());
        metrics.blocked.set(i64::from(is_blocked));
        [metrics.connected.collect(), metrics.blocked.collect()].concat()
    }
}
