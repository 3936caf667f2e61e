use pg::Database;
use service_error::{ErrorKind, ServiceError};

use crate::{
    domain::message::Message,
    store::messages::{self, MessageFilter, Position},
};

/// A part of the list of messages.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Page {
    /// The messages, newest first.
    pub messages: Vec<Message>,
    /// Where the next page starts, if there is one.
    pub next: Option<Position>,
}

/// Why there is no list.
#[derive(Debug, thiserror::Error)]
pub enum ListMessagesError {
    /// The database failed.
    #[error("the messages cannot be read")]
    Database(#[from] pg::Error),
}

/// Up to `size` messages that pass `filter`, newest first, from right after `position`.
pub async fn list_messages(
    database: &Database,
    filter: &MessageFilter,
    position: Option<Position>,
    size: usize,
) -> Result<Page, ListMessagesError> {
    let mut conn = database.connection().await?;
    // One more than asked for tells whether there is a next page.
    let limit = i64::try_from(size).unwrap_or(i64::MAX).saturating_add(1);
    let mut messages = messages::list(&mut conn, filter, position, limit).await?;
    let more = messages.len() > size;
    messages.truncate(size);
    let last = messages.last().filter(|_| more);
    let next = last.map(|message| Position { created_at: message.created_at, id: message.id });
    Ok(Page { messages, next })
}

impl ServiceError for ListMessagesError {
    fn kind(&self) -> ErrorKind {
        let Self::Database(error) = self;
        if error.is_transient() { ErrorKind::Unavailable } else { ErrorKind::Internal }
    }

    fn reason(&self) -> &'static str {
        let Self::Database(error) = self;
        if error.is_transient() { "database_unavailable" } else { "internal" }
    }
}
