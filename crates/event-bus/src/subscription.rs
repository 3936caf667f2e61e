use std::{future::Future, sync::Arc, time::Duration};

use anyhow::Context;
use lapin::{
    Channel, Consumer,
    options::{BasicConsumeOptions, BasicQosOptions},
    types::FieldTable,
};
use tokio::time::{Instant, sleep};
use tokio_util::sync::CancellationToken;
use tracing::{info, warn};

use crate::{ConsumerSettings, backoff::Backoff, connection::Broker, link::Link, session::Session, topology};

/// A session that lasted this long was a good one: the next failure is not a consequence of the last.
const GOOD_SESSION: Duration = Duration::from_secs(30);

/// The wish to consume a queue, through every connection.
pub(crate) struct Subscription {
    pub(crate) consuming: Arc<Broker>,
    /// Where messages go that have to go elsewhere.
    pub(crate) publishing: Arc<Broker>,
    pub(crate) service: &'static str,
    pub(crate) settings: ConsumerSettings,
    pub(crate) stop: CancellationToken,
}

/// A way of serving a subscription.
pub(crate) trait Serve: Sync {
    /// Serves until stopped, or until the connection is lost.
    fn serve(
        &self,
        session: &Session<'_>,
        deliveries: Consumer,
    ) -> impl Future<Output = anyhow::Result<()>> + Send;
}

impl Subscription {
    pub(crate) fn new(
        consuming: Arc<Broker>,
        publishing: Arc<Broker>,
        service: &'static str,
        mut settings: ConsumerSettings,
        stop: CancellationToken,
    ) -> Self {
        // To AMQP, 0 means without limit.
        settings.prefetch = settings.prefetch.max(1);
        Self { consuming, publishing, service, settings, stop }
    }

    pub(crate) async fn keep_up(&self, server: &impl Serve) {
        let mut backoff = Backoff::new();
        while !self.stop.is_cancelled() {
            if let Ok((session, deliveries)) = self.open().await {
                info!(queue = self.settings.queue, "Consuming {}", self.settings.queue);
                let begin = Instant::now();
                let Err(error) = server.serve(&session, deliveries).await else { return };
                warn!(queue = self.settings.queue, error = format!("{error:#}"), "Stopped consuming");
                if begin.elapsed() > GOOD_SESSION {
                    backoff = Backoff::new();
                }
            }
            rest(backoff.next_pause(), &self.stop).await;
        }
    }

    async fn open(&self) -> anyhow::Result<(Session<'_>, Consumer)> {
        let link = self.consuming.link().await?;
        match self.consume(&link).await {
            Ok((channel, deliveries)) => Ok((Session::new(self, link, channel), deliveries)),
            Err(error) => {
                // Unlike a broker that is away, this is nothing that anybody else has logged.
                warn!(queue = self.settings.queue, error = format!("{error:#}"), "Cannot consume");
                Err(error)
            }
        }
    }

    async fn consume(&self, link: &Link) -> anyhow::Result<(Channel, Consumer)> {
        let queue = self.settings.queue;
        let channel = link.answer(link.connection.create_channel()).await?;
        // Once more: where the broker cancelled the consumer because its queue was deleted, the connection is as good as before.
        let declaring = topology::declare(&link.connection);
        link.answer(declaring).await.context("cannot declare the topology")?;
        let declaring = topology::declare_delays(&channel, queue);
        link.answer(declaring).await.context("cannot declare the delay queues")?;
        link.answer(channel.basic_qos(self.settings.prefetch, BasicQosOptions::default())).await?;
        let options = BasicConsumeOptions::default();
        // The broker invents a tag.
        let consuming = channel.basic_consume(queue.into(), "".into(), options, FieldTable::default());
        let deliveries = link.answer(consuming).await?;
        Ok((channel, deliveries))
    }
}

/// Sleeps, unless it is over.
pub(crate) async fn rest(pause: Duration, over: &CancellationToken) {
    tokio::select! {
        () = sleep(pause) => (),
        () = over.cancelled() => (),
    }
}
