use std::{error::Error, sync::Arc, time::Duration};

use anyhow::{Context, anyhow, ensure};
use lapin::uri::AMQPUri;
use parking_lot::Mutex;
use secrecy::{ExposeSecret, SecretString};
use tokio::{
    sync,
    time::{Instant, timeout},
};
use tracing::{info, warn};

use crate::{backoff::Backoff, link::Link, metrics::Metrics, posting::Posting, publisher::PublishError};

/// A broker that accepts connections but does not talk is given up after this.
const CONNECTED_WITHIN: Duration = Duration::from_secs(5);

/// The broker as it can be reached, and the link to it while there is one. Nobody watches it: whoever needs the link and finds none makes
/// the next one, one at a time and not too often.
pub(crate) struct Broker {
    uri: AMQPUri,
    /// Names the connection in the broker's management.
    name: String,
    pub(crate) metrics: Metrics,
    current: Mutex<Option<Arc<Link>>>,
    attempts: sync::Mutex<Attempts>,
}

struct Attempts {
    backoff: Backoff,
    not_before: Option<Instant>,
}

impl Attempts {
    fn new() -> Self {
        Self { backoff: Backoff::new(), not_before: None }
    }
}

impl Broker {
    pub(crate) fn new(url: &SecretString, name: String, metrics: Metrics) -> anyhow::Result<Self> {
        let mut uri: AMQPUri = url
            .expose_secret()
            .parse()
            .map_err(|error| anyhow!("the broker's URL cannot be understood: {error}"))?;
        uri.query.heartbeat.get_or_insert(10);
        uri.query.connection_timeout.get_or_insert(3_000);
        Ok(Self {
            uri,
            name,
            metrics,
            current: Mutex::new(None),
            attempts: sync::Mutex::new(Attempts::new()),
        })
    }

    pub(crate) fn current(&self) -> Option<Arc<Link>> {
        self.current.lock().clone().filter(|link| link.is_up())
    }

    /// The link that there is, or a new one. Fails at once while the last attempt to make one is too recent.
    pub(crate) async fn link(&self) -> anyhow::Result<Arc<Link>> {
        if let Some(link) = self.current() {
            return Ok(link);
        }
        let mut attempts = self.attempts.lock().await;
        if let Some(link) = self.current() {
            return Ok(link);
        }
        let too_soon = attempts.not_before.is_some_and(|not_before| Instant::now() < not_before);
        ensure!(!too_soon, "the broker was away a moment ago");
        match self.open().await {
            Ok(link) => {
                info!("Connected to the broker as {}", self.name);
                let link = Arc::new(link);
                *self.current.lock() = Some(Arc::clone(&link));
                *attempts = Attempts::new();
                Ok(link)
            }
            Err(error) => {
                warn!(error = format!("{error:#}"), "Could not connect to the broker");
                attempts.not_before = Some(Instant::now() + attempts.backoff.next_pause());
                Err(error)
            }
        }
    }

    /// A link over which the broker takes messages.
    pub(crate) async fn willing_link(&self) -> anyhow::Result<Arc<Link>> {
        let link = self.link().await?;
        link.ensure_willing()?;
        Ok(link)
    }

    /// Publishes all, pipelined; one result each, in order.
    pub(crate) async fn publish(&self, postings: &[Posting]) -> Vec<Result<(), PublishError>> {
        if postings.is_empty() {
            return Vec::new();
        }
        match self.willing_link().await {
            Ok(link) => self.publish_on(&link, postings).await,
            Err(error) => PublishError::for_all(postings, &error),
        }
    }

    /// The same over `link`, which is given up when anything but the messages was wrong.
    pub(crate) async fn publish_on(
        &self,
        link: &Arc<Link>,
        postings: &[Posting],
    ) -> Vec<Result<(), PublishError>> {
        let results = link.publish(postings).await;
        for result in &results {
            self.metrics.count_published(result);
        }
        let failure = results.iter().find_map(|result| match result {
            Ok(()) | Err(PublishError::Unroutable) => None,
            Err(error) => Some(error),
        });
        if let Some(error) = failure {
            let cause = error.source().map(ToString::to_string);
            if link.is_blocked() {
                warn!(%error, cause, "The broker takes no messages, it is short of memory or disk");
                link.retire();
            } else {
                warn!(%error, cause, "Gave up a connection to the broker");
                self.discard(link).await;
            }
        }
        results
    }

    async fn discard(&self, link: &Arc<Link>) {
        self.current.lock().take_if(|current| Arc::ptr_eq(current, link));
        link.close().await;
    }

    async fn open(&self) -> anyhow::Result<Link> {
        let opening = Link::open(self.uri.clone(), self.name.as_str().into());
        timeout(CONNECTED_WITHIN, opening).await.context("the broker does not answer")?
    }
}
