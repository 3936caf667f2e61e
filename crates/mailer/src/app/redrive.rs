use std::{borrow::Cow, collections::HashSet, str::FromStr};

use auth_events::routing::MAILER_DEAD_QUEUE;
use auth_ids::{EventId, GenericUuid, Uuid};
use clock::Clock;
use event_bus::EventBus;
use pg::Database;
use service_error::{ErrorKind, ServiceError};

use super::{
    failure::{BROKER_UNAVAILABLE, database_kind, database_reason},
    requeue,
};
use crate::{
    domain::message::MessageState,
    store::messages::{self, MessageFilter},
};

/// How many of each source are brought back at a time.
const MOST: usize = 1_000;

/// Which dead letters to bring back.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Selection {
    /// These.
    Ids(Vec<String>),
    /// All of them, or all with this reason.
    All {
        /// The reason, a code.
        reason: Option<String>,
    },
}

/// What came of it.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Redriven {
    /// How many are on their way again.
    pub count: usize,
    /// Those that were asked for by id and are no dead letters, can be tried no more, or are being changed by somebody else right now.
    pub not_redriven: Vec<String>,
}

/// Why nothing was brought back, or not everything.
#[derive(Debug, thiserror::Error)]
pub enum RedriveError {
    /// The database failed.
    #[error("the messages cannot be changed")]
    Database(#[from] pg::Error),
    /// The broker is away.
    #[error("the broker takes nothing back")]
    Broker(#[source] anyhow::Error),
}

/// Brings dead letters back, because `actor` wants it: messages that failed are queued once more, and what the broker keeps goes to the queue that it
/// comes from. A mail that is sent then has the `Message-ID` that it would have had.
pub async fn redrive(
    database: &Database,
    bus: &EventBus,
    clock: &dyn Clock,
    selection: Selection,
    actor: &str,
) -> Result<Redriven, RedriveError> {
    let publisher = bus.publisher();
    // Nothing is queued that could not be published.
    publisher.ready().await.map_err(|error| RedriveError::Broker(error.into()))?;
    let failed = failed(database, &selection).await?;
    let queued = requeue::queue(database, &failed, actor, clock.now()).await?;
    let mut done: HashSet<String> = queued.iter().map(|message| message.id.to_string()).collect();
    let mut count = queued.len();
    for published in requeue::publish(&publisher, queued).await {
        published.map_err(|error| RedriveError::Broker(error.into()))?;
    }
    let returned = bus.redrive(MAILER_DEAD_QUEUE, MOST, |letter| match &selection {
        Selection::Ids(ids) => ids.contains(&letter.id),
        Selection::All { reason } => reason.as_ref().is_none_or(|reason| *reason == letter.reason),
    });
    let returned = returned.await.map_err(RedriveError::Broker)?;
    count += returned.len();
    done.extend(returned);
    let not_redriven = match selection {
        Selection::Ids(ids) => ids.into_iter().filter(|id| !done.contains(id)).collect(),
        Selection::All { .. } => Vec::new(),
    };
    tracing::info!(redriven = count, actor, "Brought {count} dead letters back");
    Ok(Redriven { count, not_redriven })
}

async fn failed(database: &Database, selection: &Selection) -> pg::Result<Vec<EventId>> {
    let reason = match selection {
        Selection::Ids(ids) => {
            let parsed = ids.iter().filter_map(|id| Uuid::from_str(id).ok());
            return Ok(parsed.map(EventId::from_untyped_uuid).collect());
        }
        Selection::All { reason } => reason,
    };
    let filter = MessageFilter {
        state: Some(MessageState::Failed),
        failure: reason.clone(),
        with_command: true,
        ..MessageFilter::default()
    };
    let limit = i64::try_from(MOST).unwrap_or(i64::MAX);
    let mut conn = database.connection().await?;
    let messages = messages::list(&mut conn, &filter, None, limit).await?;
    Ok(messages.into_iter().map(|message| message.id).collect())
}

impl ServiceError for RedriveError {
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
