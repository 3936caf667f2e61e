use std::borrow::Cow;

use auth_ids::EventId;
use pg::Database;
use service_error::{ErrorKind, ServiceError};

use super::failure::{database_kind, database_reason};
use crate::{
    domain::message::{Message, Transition},
    store::{messages, transitions},
};

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

/// The message `id`, and everything that happened to it.
pub async fn get_message(
    database: &Database,
    id: EventId,
) -> Result<(Message, Vec<Transition>), GetMessageError> {
    let mut conn = database.connection().await?;
    let message = messages::find(&mut conn, id).await?.ok_or(GetMessageError::NotFound(id))?;
    Ok((message, transitions::history(&mut conn, id).await?))
}

impl ServiceError for GetMessageError {
    fn kind(&self) -> ErrorKind {
        match self {
            Self::NotFound(_) => ErrorKind::NotFound,
            Self::Database(error) => database_kind(error),
        }
    }

    fn reason(&self) -> &'static str {
        match self {
            Self::NotFound(_) => "message_not_found",
            Self::Database(error) => database_reason(error),
        }
    }

    fn public_detail(&self) -> Cow<'static, str> {
        match self {
            Self::NotFound(_) => "There is no such message.".into(),
            Self::Database(_) => self.kind().title().into(),
        }
    }
}
