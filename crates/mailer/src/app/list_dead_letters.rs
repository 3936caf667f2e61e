use std::borrow::Cow;

use auth_events::routing::MAILER_DEAD_QUEUE;
use event_bus::{DeadLetter, EventBus};
use pg::Database;
use service_error::{ErrorKind, ServiceError};

use super::{
    failure::{BROKER_UNAVAILABLE, database_kind, database_reason},
    list_messages::{ListMessagesError, Page, list_messages},
};
use crate::{
    domain::message::MessageState,
    store::messages::{MessageFilter, Position},
};

/// How many of the broker's are shown; who has more of them has one problem, not many.
const SHOWN_OF_BROKER: usize = 100;

/// What was given up and could be tried again.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DeadLetterPage {
    /// Messages that failed, newest first.
    pub failed: Page,
    /// What the broker keeps because it is no mail command, oldest first; on the first page only.
    pub refused: Vec<DeadLetter>,
    /// How many of those there are, shown or not.
    pub in_broker: u32,
}

/// Why there is no list.
#[derive(Debug, thiserror::Error)]
pub enum ListDeadLettersError {
    /// The database failed.
    #[error("the messages cannot be read")]
    Database(#[from] pg::Error),
    /// The broker is away.
    #[error("the dead-letter queue cannot be read")]
    Broker(#[source] anyhow::Error),
}

/// Up to `size` messages that failed and could be tried again, newest first, from right after `position`; from the beginning what the broker keeps, too.
pub async fn list_dead_letters(
    database: &Database,
    bus: &EventBus,
    position: Option<Position>,
    size: usize,
) -> Result<DeadLetterPage, ListDeadLettersError> {
    let filter =
        MessageFilter { state: Some(MessageState::Failed), with_command: true, ..MessageFilter::default() };
    let failed = list_messages(database, &filter, position, size)
        .await
        .map_err(|ListMessagesError::Database(error)| ListDeadLettersError::Database(error))?;
    let (refused, in_broker) = if position.is_none() {
        let refused = bus.dead_letters(MAILER_DEAD_QUEUE, SHOWN_OF_BROKER).await;
        let refused = refused.map_err(ListDeadLettersError::Broker)?;
        (refused.letters, refused.total)
    } else {
        (Vec::new(), 0)
    };
    Ok(DeadLetterPage { failed, refused, in_broker })
}

impl ServiceError for ListDeadLettersError {
    fn kind(&self) -> ErrorKind {
        match self {
            Self::Database(error) => database_kind(error),
            Self::Broker(_) => ErrorKind::Unavailable,
        }
    }

    fn reason(&self) -> &'static str {
        match self {
            Self::Database(error) => database_reason(error),
            Self::Broker(_) => BROKER_UNAVAILABLE,
        }
    }

    fn public_detail(&self) -> Cow<'static, str> {
        self.kind().title().into()
    }
}
