//! Lists a user's live sessions.

use std::time::Duration;

use auth_ids::UserId;
use service_error::{ErrorKind, ServiceError};

use super::database_error;
use crate::{domain::session::Session, state::App, store::sessions};

#[derive(Debug, thiserror::Error)]
pub enum ListSessionsError {
    #[error("the sessions cannot be read")]
    Database(#[from] pg::Error),
}

impl ServiceError for ListSessionsError {
    fn kind(&self) -> ErrorKind {
        let Self::Database(error) = self;
        database_error::kind(error)
    }

    fn reason(&self) -> &'static str {
        let Self::Database(error) = self;
        database_error::reason(error)
    }

    fn retry_after(&self) -> Option<Duration> {
        let Self::Database(error) = self;
        database_error::retry_after(error)
    }
}

/// The live sessions of a user, the newest first.
#[tracing::instrument(name = "app.sessions.list", skip_all, fields(user.id = %user))]
pub async fn list_sessions(app: &App, user: UserId) -> Result<Vec<Session>, ListSessionsError> {
    let mut conn = app.database.connection().await?;
    Ok(sessions::live_of_user(&mut conn, user, app.now()).await?)
}
