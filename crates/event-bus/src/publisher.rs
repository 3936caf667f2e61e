use std::sync::Arc;

use anyhow::anyhow;
use auth_events::routing::Route;

use crate::{connection::Broker, posting::Posting};

/// A message to publish.
#[derive(Debug, Clone)]
pub struct OutgoingMessage {
    /// Where to.
    pub route: Route,
    /// The envelope's id.
    pub message_id: String,
    /// The envelope's type and version, `auth.user.registered.v1`.
    pub message_type: String,
    /// The trace context that the message carries.
    pub traceparent: Option<String>,
    /// The envelope as JSON.
    pub payload: Vec<u8>,
}

/// Why a message does not count as published.
#[derive(Debug, thiserror::Error)]
pub enum PublishError {
    /// There is no connection, or it broke before the broker confirmed.
    #[error("the broker is not available")]
    Unavailable(#[source] anyhow::Error),
    /// No queue would have received it.
    #[error("no queue is bound for the message")]
    Unroutable,
    /// The broker refused to take responsibility.
    #[error("the broker refused the message")]
    Refused,
}

impl PublishError {
    /// The same reason for each of `postings`; an `anyhow::Error` cannot be cloned.
    pub(crate) fn for_all(postings: &[Posting], reason: &anyhow::Error) -> Vec<Result<(), Self>> {
        let reason = format!("{reason:#}");
        postings.iter().map(|_| Err(Self::Unavailable(anyhow!(reason.clone())))).collect()
    }
}

/// Publishes with confirmation: persistent, mandatory, and sent only when the broker says so.
#[derive(Clone)]
pub struct Publisher {
    broker: Arc<Broker>,
}

impl Publisher {
    pub(crate) fn new(broker: Arc<Broker>) -> Self {
        Self { broker }
    }

    /// Publishes all messages, pipelined; one result each, in order.
    pub async fn publish(&self, messages: Vec<OutgoingMessage>) -> Vec<Result<(), PublishError>> {
        let postings: Vec<_> = messages.into_iter().map(Posting::from_outgoing).collect();
        self.broker.publish(&postings).await
    }

    /// Connects if there is no connection, and fails where the broker takes no messages. Ask this before taking something into hand that must not wait, a transaction for example.
    pub async fn ready(&self) -> Result<(), PublishError> {
        self.broker.willing_link().await.map(drop).map_err(PublishError::Unavailable)
    }
}
