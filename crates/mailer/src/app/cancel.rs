use std::borrow::Cow;

use auth_ids::EventId;
use clock::Clock;
use diesel_async::AsyncConnection;
use pg::Database;
use service_error::{ErrorKind, ServiceError};

use super::failure::{database_kind, database_reason};
use crate::{
    domain::message::{Circumstances, Message, MessageState},
    store::{messages, moves, transitions},
};

/// Why a message is not given up.
#[derive(Debug, thiserror::Error)]
pub enum CancelError {
    /// There is none with the id.
    #[error("message {0} is not known")]
    NotFound(EventId),
    /// It is being sent, or came to its end before.
    #[error("message {0} can no longer be cancelled")]
    TooLate(EventId),
    /// The database failed.
    #[error("the message cannot be changed")]
    Database(#[from] pg::Error),
}

pg::leaves_transactions!(CancelError);

/// Gives up the message `id`, which waits or failed, because `actor` wants it.
pub async fn cancel(
    database: &Database,
    clock: &dyn Clock,
    id: EventId,
    actor: &str,
) -> Result<Message, CancelError> {
    let now = clock.now();
    let mut conn = database.connection().await?;
    conn.transaction(async |conn| {
        let Some(attempt) = moves::give_up(conn, id, MessageState::Cancelled, now).await? else {
            let known = messages::find(conn, id).await?.is_some();
            return Err(if known { CancelError::TooLate(id) } else { CancelError::NotFound(id) });
        };
        let circumstances = Circumstances { attempt, actor: Some(actor), ..Circumstances::default() };
        transitions::append(conn, id, MessageState::Cancelled, circumstances, now).await?;
        messages::find(conn, id).await?.ok_or(CancelError::NotFound(id))
    })
    .await
}

impl ServiceError for CancelError {
    fn kind(&self) -> ErrorKind {
        match self {
            Self::NotFound(_) => ErrorKind::NotFound,
            Self::TooLate(_) => ErrorKind::Conflict,
            Self::Database(error) => database_kind(error),
        }
    }

    fn reason(&self) -> &'static str {
        match self {
            Self::NotFound(_) => "message_not_found",
            Self::TooLate(_) => "message_not_cancellable",
            Self::Database(error) => database_reason(error),
        }
    }

    fn public_detail(&self) -> Cow<'static, str> {
        match self {
            Self::NotFound(_) => "There is no such message.".into(),
            Self::TooLate(_) => "The message is being sent, or came to its end before.".into(),
            Self::Database(_) => self.kind().title().into(),
        }
    }
}
