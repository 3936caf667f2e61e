use std::borrow::Cow;

use auth_ids::EventId;
use service_error::{ErrorKind, ServiceError};

use super::AuditLog;
use crate::{
    domain::{RecordedEvent, Scope},
    store,
};

/// Why there is no event.
#[derive(Debug, thiserror::Error)]
pub enum GetError {
    #[error("there is no such event")]
    EventNotFound,
    #[error("the log cannot be read")]
    Database(#[from] pg::Error),
}

impl AuditLog {
    /// One event, if it is in the scope.
    pub async fn get(&self, id: EventId, scope: &Scope) -> Result<RecordedEvent, GetError> {
        let mut conn = self.database.connection().await?;
        let row = store::events::find(&mut conn, id).await?;
        let row = row.filter(|row| scope.admits(&row.event)).ok_or(GetError::EventNotFound)?;
        let event = self.personal.open(&mut conn, vec![row]).await?.pop();
        event.map(|event| scope.redact(event)).ok_or(GetError::EventNotFound)
    }
}

impl ServiceError for GetError {
    fn kind(&self) -> ErrorKind {
        match self {
            Self::EventNotFound => ErrorKind::NotFound,
            Self::Database(error) => super::database_error_kind(error),
        }
    }

    fn reason(&self) -> &'static str {
        match self {
            Self::EventNotFound => "event_not_found",
            Self::Database(error) => super::database_error_reason(error),
        }
    }

    fn public_detail(&self) -> Cow<'static, str> {
        match self {
            Self::EventNotFound => Cow::Borrowed("There is no event with this id."),
            Self::Database(_) => Cow::Borrowed(self.kind().title()),
        }
    }
}
