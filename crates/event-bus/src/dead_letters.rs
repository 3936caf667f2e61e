//! What is in a dead-letter queue, and the way back.

use std::{sync::Arc, time::Duration};

use anyhow::{Context, ensure};
use auth_events::routing::{RETRY_EXCHANGE, Route};
use lapin::{
    Channel,
    message::{BasicGetMessage, Delivery},
    options::{BasicAckOptions, BasicGetOptions, QueueDeclareOptions},
    types::{AMQPValue, FieldTable, ShortString},
};
use sha2::{Digest, Sha256};
use tokio::time::timeout;

use crate::{EventBus, link::Link, posting::Posting};

/// How long looking may take; a queue that is being moved between nodes does not answer.
const LOOKED_WITHIN: Duration = Duration::from_secs(5);

/// A message that was refused.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DeadLetter {
    /// Its `message_id`, or where it has none a digest of its body.
    pub id: String,
    /// Its `type`, if it had one.
    pub message_type: Option<String>,
    /// Why it is here: what the consumer said (`x-reason`), or what the broker did (`delivery_limit`).
    pub reason: String,
    /// The queue that it comes from, if that is known.
    pub queue: Option<String>,
    /// Its size.
    pub bytes: usize,
}

/// A part of a dead-letter queue.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DeadLetters {
    /// How many there are, in this part or not.
    pub total: u32,
    /// The oldest ones.
    pub letters: Vec<DeadLetter>,
}

impl EventBus {
    /// The oldest messages in the dead-letter queue `queue`, up to `limit`. They stay there: they are taken without being acknowledged, and given back at once.
    pub async fn dead_letters(&self, queue: &str, limit: usize) -> anyhow::Result<DeadLetters> {
        let link = self.consuming.link().await?;
        let looking = async {
            let (channel, total) = open(&link, queue).await?;
            let mut letters = Vec::new();
            while letters.len() < limit
                && let Some(message) = next(&link, &channel, queue).await?
            {
                letters.push(DeadLetter::new(&message));
            }
            give_back(&link, &channel).await;
            Ok(DeadLetters { total, letters })
        };
        timeout(LOOKED_WITHIN, looking).await.context("the broker does not answer")?
    }

    /// Brings messages of the dead-letter queue `queue` back to the queues that they come from, those of the oldest `limit` that `choose` wants; their ids.
    /// One that is brought back is confirmed in its queue before it is acknowledged here.
    pub async fn redrive(
        &self,
        queue: &str,
        limit: usize,
        mut choose: impl FnMut(&DeadLetter) -> bool + Send,
    ) -> anyhow::Result<Vec<String>> {
        let link = self.consuming.link().await?;
        let (channel, total) = open(&link, queue).await?;
        let mut redriven = Vec::new();
        for _ in 0..limit.min(usize::try_from(total).unwrap_or(usize::MAX)) {
            let Some(message) = next(&link, &channel, queue).await? else { break };
            let letter = DeadLetter::new(&message);
            // Without a queue to go back to it stays.
            let Some(home) = letter.queue.as_deref().map(route) else { continue };
            if !choose(&letter) {
                continue;
            }
            let posting = Posting::redriven(&message, home.exchange, home.routing_key);
            for confirmed in self.publishing.publish(&[posting]).await {
                confirmed.context("cannot bring a message back")?;
            }
            let told = link.answer(message.ack(BasicAckOptions::default())).await?;
            ensure!(told, "the channel was closed; message {} is there twice", letter.id);
            redriven.push(letter.id);
        }
        give_back(&link, &channel).await;
        Ok(redriven)
    }
}

impl DeadLetter {
    fn new(delivery: &Delivery) -> Self {
        let properties = &delivery.properties;
        let headers = properties.headers().clone().unwrap_or_default();
        let digest = || format!("sha256:{}", hex::encode(Sha256::digest(&delivery.data)));
        Self {
            id: properties
                .message_id()
                .as_ref()
                .map(ShortString::to_string)
                .filter(|id| !id.is_empty())
                .unwrap_or_else(digest),
            message_type: properties.kind().as_ref().map(ShortString::to_string),
            reason: text(&headers, "x-reason")
                .or_else(|| text(last_death(&headers)?, "reason"))
                .unwrap_or_else(|| "unknown".to_owned()),
            queue: text(&headers, "x-queue").or_else(|| text(last_death(&headers)?, "queue")),
            bytes: delivery.data.len(),
        }
    }
}

/// A channel of its own: what it takes and does not acknowledge goes back when it is closed.
async fn open(link: &Arc<Link>, queue: &str) -> anyhow::Result<(Channel, u32)> {
    let channel = link.answer(link.connection.create_channel()).await?;
    let passive = QueueDeclareOptions { passive: true, ..QueueDeclareOptions::default() };
    let declaring = channel.queue_declare(queue.into(), passive, FieldTable::default());
    let total = link.answer(declaring).await?.message_count();
    Ok((channel, total))
}

async fn next(link: &Link, channel: &Channel, queue: &str) -> anyhow::Result<Option<Delivery>> {
    let message = link.answer(channel.basic_get(queue.into(), BasicGetOptions::default())).await?;
    Ok(message.map(|BasicGetMessage { delivery, .. }| delivery))
}

async fn give_back(link: &Link, channel: &Channel) {
    // The connection would give it back as well.
    let _ = link.answer(channel.close(200, "OK".into())).await;
}

/// Where a message for `queue` alone is published.
fn route(queue: &str) -> Route {
    Route { exchange: RETRY_EXCHANGE, routing_key: queue.to_owned() }
}

/// What the broker says of the last time that it put the message somewhere else; it keeps the newest in front. The first one is of a delay queue, for
/// whatever was ever put off.
fn last_death(headers: &FieldTable) -> Option<&FieldTable> {
    match headers.inner().get("x-death") {
        Some(AMQPValue::FieldArray(deaths)) => match deaths.as_slice().first() {
            Some(AMQPValue::FieldTable(death)) => Some(death),
            _ => None,
        },
        _ => None,
    }
}

fn text(headers: &FieldTable, name: &str) -> Option<String> {
    match headers.inner().get(name) {
        Some(AMQPValue::LongString(text)) => Some(text.to_string()),
        _ => None,
    }
}
