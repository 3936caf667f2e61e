use std::{
    collections::HashSet,
    future::Future,
    sync::atomic::{AtomicBool, Ordering},
    time::Duration,
};

use anyhow::{Context, anyhow, bail, ensure};
use async_rs::Runtime;
use lapin::{
    Channel, Connection, ConnectionProperties, PublisherConfirm,
    options::{BasicPublishOptions, ConfirmSelectOptions},
    types::{LongString, ShortString},
    uri::AMQPUri,
};
use tokio::{
    sync::Mutex,
    time::{Instant, sleep, timeout, timeout_at},
};

use crate::{Sequence, posting::Posting, publisher::PublishError, sequence::Numbering, topology};

/// How long a batch waits for its confirmations. A healthy quorum queue takes milliseconds; one that takes five seconds still gets everything,
/// where a shorter patience would send the same batch again for ever. A relay holds a transaction meanwhile, which the database ends after 15 s.
const CONFIRMED_WITHIN: Duration = Duration::from_secs(12);

/// How often somebody who waits for an answer looks whether the connection is still there.
const LOOKED_EVERY: Duration = Duration::from_secs(1);

/// A connection that was established, with the topology in place and a channel to publish on. It is never repaired, only replaced: after
/// the leader of a quorum queue died, a publisher that keeps its channel can be refused for ever.
pub(crate) struct Link {
    pub(crate) connection: Connection,
    /// Held by one batch at a time. The library pairs a returned message with whichever confirmation comes next, so only who
    /// has all confirmations of a channel in hand knows which messages were returned.
    publishing: Mutex<Publishing>,
    is_retired: AtomicBool,
}

struct Publishing {
    channel: Channel,
    numbering: Numbering,
}

impl Link {
    pub(crate) async fn open(uri: AMQPUri, name: LongString) -> anyhow::Result<Self> {
        let properties = ConnectionProperties::default().with_connection_name(name);
        let connection =
            Connection::connect_uri_with_runtime(uri, properties, Runtime::tokio_current()).await?;
        topology::declare(&connection).await.context("cannot declare the topology")?;
        let channel = connection.create_channel().await?;
        channel.confirm_select(ConfirmSelectOptions::default()).await?;
        let publishing = Publishing { channel, numbering: Numbering::new() };
        Ok(Self { connection, publishing: Mutex::new(publishing), is_retired: AtomicBool::new(false) })
    }

    pub(crate) fn is_up(&self) -> bool {
        // A channel may be closed alone, by the broker's refusal of something on it.
        let channel_is_down = self.publishing.try_lock().is_ok_and(|it| !it.channel.status().connected());
        let is_over = self.is_retired.load(Ordering::Relaxed) && !self.is_blocked();
        self.connection.status().connected() && !channel_is_down && !is_over
    }

    /// What the broker answers, for as long as the connection lives. In the moment in which a connection breaks the library forgets who asks for a channel
    /// or for an acknowledgement, and leaves them waiting for ever.
    pub(crate) async fn answer<T>(
        &self,
        asking: impl Future<Output = lapin::Result<T>>,
    ) -> anyhow::Result<T> {
        tokio::select! {
            biased;
            answer = asking => Ok(answer?),
            () = self.lost() => bail!("the connection was lost"),
        }
    }

    /// Waits until the connection is gone.
    pub(crate) async fn lost(&self) {
        while self.connection.status().connected() {
            sleep(LOOKED_EVERY).await;
        }
    }

    /// Whether the broker takes no messages, because it is short of memory or disk.
    pub(crate) fn is_blocked(&self) -> bool {
        self.connection.status().blocked()
    }

    pub(crate) fn ensure_willing(&self) -> anyhow::Result<()> {
        ensure!(!self.is_blocked(), "the broker takes no messages, it is short of memory or disk");
        Ok(())
    }

    /// Gives up a link that is blocked. To close it is impossible as long as it is, and a new one would be blocked as well, with what was sent over
    /// each of them published in the end; so it is replaced once it is not blocked any more.
    pub(crate) fn retire(&self) {
        self.is_retired.store(true, Ordering::Relaxed);
    }

    pub(crate) async fn close(&self) {
        // It is given up either way.
        let _ = timeout(Duration::from_secs(1), self.connection.close(200, "OK".into())).await;
    }

    pub(crate) async fn publish(&self, postings: &[Posting]) -> Vec<Result<(), PublishError>> {
        let mut publishing = self.publishing.lock().await;
        // Else everybody who waited for this would wait for confirmations in turn.
        if let Err(error) = self.ensure_willing() {
            return PublishError::for_all(postings, &error);
        }
        let Publishing { channel, numbering } = &mut *publishing;
        let facts = postings.iter().filter(|posting| posting.is_new_fact).count();
        let mut numbers = numbering.take(facts).into_iter();
        let numbers: Vec<Option<Sequence>> =
            postings.iter().map(|posting| if posting.is_new_fact { numbers.next() } else { None }).collect();
        let deadline = Instant::now() + CONFIRMED_WITHIN;
        let mut sent = Vec::with_capacity(postings.len());
        for (posting, number) in postings.iter().zip(&numbers) {
            sent.push(send(channel, posting, *number, deadline).await);
        }
        let mut returned = HashSet::new();
        let mut results = Vec::with_capacity(postings.len());
        for confirm in sent {
            results.push(match confirm {
                Ok(confirm) => confirmation(confirm, deadline, &mut returned).await,
                Err(error) => Err(error),
            });
        }
        for (result, posting) in results.iter_mut().zip(postings) {
            if result.is_ok() && returned.contains(&posting.message_id().map(str::to_owned)) {
                *result = Err(PublishError::Unroutable);
            }
        }
        for (result, number) in results.iter().zip(numbers) {
            if let (Err(_), Some(sequence)) = (result, number) {
                numbering.give_back(sequence.number);
            }
        }
        results
    }
}

#[expect(clippy::disallowed_methods, reason = "the one place that publishes")]
async fn send(
    channel: &Channel,
    posting: &Posting,
    sequence: Option<Sequence>,
    deadline: Instant,
) -> Result<PublisherConfirm, PublishError> {
    let Ok(key) = ShortString::try_new(posting.routing_key.as_str()) else {
        return Err(PublishError::Unroutable);
    };
    if !topology::is_known(&posting.exchange) {
        return Err(PublishError::Unroutable);
    }
    let options = BasicPublishOptions { mandatory: true, ..BasicPublishOptions::default() };
    let exchange = posting.exchange.as_str().into();
    let sending = channel.basic_publish(exchange, key, options, &posting.payload, posting.numbered(sequence));
    match timeout_at(deadline, sending).await {
        Ok(Ok(confirm)) => Ok(confirm),
        Ok(Err(error)) => Err(PublishError::Unavailable(error.into())),
        Err(_) => Err(PublishError::Unavailable(anyhow!("the broker takes nothing"))),
    }
}

async fn confirmation(
    confirm: PublisherConfirm,
    deadline: Instant,
    returned: &mut HashSet<Option<String>>,
) -> Result<(), PublishError> {
    let confirmation = match timeout_at(deadline, confirm).await {
        Ok(Ok(confirmation)) => confirmation,
        Ok(Err(error)) => return Err(PublishError::Unavailable(error.into())),
        Err(_) => {
            return Err(PublishError::Unavailable(anyhow!("no confirmation within {CONFIRMED_WITHIN:?}")));
        }
    };
    let acknowledged = confirmation.is_ack();
    if let Some(message) = confirmation.take_message() {
        returned.insert(message.delivery.properties.message_id().as_ref().map(ToString::to_string));
    }
    if acknowledged { Ok(()) } else { Err(PublishError::Refused) }
}

#[cfg(test)]
mod tests {
    use std::future::pending;

    use secrecy::ExposeSecret;
    use test_support::TestBroker;

    use super::*;

    #[tokio::test]
    async fn who_is_never_answered_waits_no_longer_than_the_connection_lives() {
        let broker = TestBroker::new().await;
        let uri: AMQPUri = broker.amqp_url().expose_secret().parse().unwrap();
        let link = Link::open(uri, "test".into()).await.unwrap();
        let forgotten = link.answer(pending::<lapin::Result<()>>());
        let closing = async {
            sleep(Duration::from_millis(100)).await;
            link.close().await;
        };
        let both = async { tokio::join!(forgotten, closing).0 };
        let answer = timeout(Duration::from_secs(10), both).await.unwrap();
        assert_eq!(answer.unwrap_err().to_string(), "the connection was lost");
    }
}
