use std::{borrow::Cow, error::Error};

use auth_ids::EventId;
use clock::Clock;
use event_bus::Publisher;
use pg::Database;
use service_error::{ErrorKind, ServiceError};

use super::{
    failure::{database_kind, database_reason},
    requeue,
};
use crate::{domain::message::Message, store::messages};

/// Why a message is not tried again.
#[derive(Debug, thiserror::Error)]
pub enum RetryError {
    /// There is none with the id.
    #[error("message {0} is not known")]
    NotFound(EventId),
    /// It is under way or came to its end, its time is over, or its command is gone.
    #[error("message {0} cannot be tried again")]
    NotRetryable(EventId),
    /// The database failed.
    #[error("the message cannot be changed")]
    Database(#[from] pg::Error),
}

/// Tries the message `id` again at once, because `actor` wants it: one that failed, or one that waits. It keeps its `Message-ID`.
///
/// While the broker is away the message is queued all the same, and put into its queue later.
pub async fn retry(
    database: &Database,
    publisher: &Publisher,
    clock: &dyn Clock,
    id: EventId,
    actor: &str,
) -> Result<Message, RetryError> {
    let queued = requeue::queue(database, &[id], actor, clock.now()).await?;
    if queued.is_empty() {
        let known = find(database, id).await?.is_some();
        return Err(if known { RetryError::NotRetryable(id) } else { RetryError::NotFound(id) });
    }
    for refused in requeue::publish(publisher, queued).await.into_iter().filter_map(Result::err) {
        tracing::warn!(mail.id = %id, error = &refused as &dyn Error, "Mail {id} waits for the broker");
    }
    find(database, id).await?.ok_or(RetryError::NotFound(id))
}

async fn find(database: &Database, id: EventId) -> pg::Result<Option<Message>> {
    let mut conn = database.connection().await?;
    messages::find(&mut conn, id).await
}

impl ServiceError for RetryError {
    fn kind(&self) -> ErrorKind {
        match self {
            Self::NotFound(_) => ErrorKind::NotFound,
            Self::NotRetryable(_) => ErrorKind::Conflict,
            Self::Database(error) => database_kind(error),
        }
    }

    fn reason(&self) -> &'static str {
        match self {
            Self::NotFound(_) => "message_not_found",
            Self::NotRetryable(_) => "message_not_retryable",
            Self::Database(error) => database_reason(error),
        }
    }

    fn public_detail(&self) -> Cow<'static, str> {
        match self {
            Self::NotFound(_) => "There is no such message.".into(),
            Self::NotRetryable(_) => "The message is under way, came to its end, or its time is over.".into(),
            Self::Database(_) => self.kind().title().into(),
        }
    }
}
