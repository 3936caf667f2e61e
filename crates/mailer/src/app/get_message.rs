use std::borrow::Cow;

use auth_ids::EventId;
use pg::Database;
use service_error::{ErrorKind, ServiceError};

use crate::{domain::message::Message, store::messages};

/// Why there is no message to show.
#[derive(Debug, thiserror::Error)]
pub enum GetMessageError {
    /// There is none with the id.
    #[error("message {0} is not known")]
    NotFound(EventId),
    /// The database failed.
    #[error("the message cannot be read")]
    Database(#[from] pg::Error),
}

/// The message `id`.
pub async fn get_message(database: &Database, id: EventId) -> Result<Message, GetMessageError> {
    let mut conn = database.connection().await?;
    messages::find(&mut conn, id).await?.ok_or(GetMessageError::NotFound(id))
}

impl ServiceError for GetMessageError {
    fn kind(&self) -> ErrorKind {
        match self {
            Self::NotFound(_) => ErrorKind::NotFound,
            Self::Database(error) if error.is_transient() => ErrorKind::Unavailable,
            Self::Database(_) => ErrorKind::Internal,
        }
    }

    fn reason(&self) -> &'static str {
        match self {
            Self::NotFound(_) => "message_not_found",
            Self::Database(error) if error.is_transient() => "database_unavailable",
            Self::Database(_) => "internal",
        }
    }

    fn public_detail(&self) -> Cow<'static, str> {
        match self {
            Self::NotFound(_) => "There is no such message.".into(),
            Self::Database(_) => self.kind().title().into(),
        }
    }
}
