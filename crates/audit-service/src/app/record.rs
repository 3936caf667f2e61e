use diesel_async::AsyncConnection;
use tracing::{error, warn};

use super::AuditLog;
use crate::{domain::Event, store};

/// What became of an event.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fate {
    /// It is in the log, since now or since an earlier delivery.
    Recorded,
    /// The database is away or stores nothing at all; the event is to come again.
    Postponed,
    /// The database takes other rows, and never this one.
    Refused,
}

/// What became of some events.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Recording {
    /// One for each event, in their order.
    pub fates: Vec<Fate>,
    /// The types of those that the log did not have before.
    pub new_types: Vec<String>,
}

impl AuditLog {
    /// Records `events` in one transaction, or one by one when the database refuses one of them.
    pub async fn record(&self, events: &[Event]) -> Recording {
        if events.is_empty() {
            return Recording { fates: Vec::new(), new_types: Vec::new() };
        }
        match self.append(events).await {
            Ok(new_types) => Recording { fates: vec![Fate::Recorded; events.len()], new_types },
            Err(error) if error.is_transient() => {
                log_postponement(&error, events.len());
                Recording { fates: vec![Fate::Postponed; events.len()], new_types: Vec::new() }
            }
            Err(_) => self.record_one_by_one(events).await,
        }
    }

    async fn record_one_by_one(&self, events: &[Event]) -> Recording {
        let mut recording = Recording { fates: Vec::with_capacity(events.len()), new_types: Vec::new() };
        for event in events {
            let fate = match self.append(std::slice::from_ref(event)).await {
                Ok(new_types) => {
                    recording.new_types.extend(new_types);
                    Fate::Recorded
                }
                Err(error) => self.judge(event, &error).await,
            };
            if fate == Fate::Postponed {
                break;
            }
            recording.fates.push(fate);
        }
        recording.fates.resize(events.len(), Fate::Postponed);
        recording
    }

    /// Whether `error` is the fault of `event` or of the database.
    async fn judge(&self, event: &Event, error: &pg::Error) -> Fate {
        if error.is_transient() || !self.takes_rows().await {
            log_postponement(error, 1);
            return Fate::Postponed;
        }
        let cause: &dyn std::error::Error = error;
        error!(event.id = %event.id, event.type = event.name, error = cause, "The database refuses event {}", event.id);
        Fate::Refused
    }

    async fn append(&self, events: &[Event]) -> pg::Result<Vec<String>> {
        let mut conn = self.database.connection().await?;
        conn.transaction(async |conn| {
            store::events::lock_end(conn).await?;
            store::events::append(conn, events).await
        })
        .await
    }

    /// Whether the database would take a row that is certainly good. The SQLSTATE of a failed insert would not tell: a missing
    /// table, a missing grant and a full disk are no more the row's fault than a lost connection is.
    async fn takes_rows(&self) -> bool {
        let Ok(mut conn) = self.database.connection().await else { return false };
        let outcome = conn
            .transaction(async |conn| {
                store::events::append(conn, &[Event::specimen()]).await.map_err(|_| Trial::Failed)?;
                Err::<(), _>(Trial::Succeeded)
            })
            .await;
        matches!(outcome, Err(Trial::Succeeded))
    }
}

/// Both ways out of a transaction that must not be committed.
enum Trial {
    Succeeded,
    Failed,
}

impl From<diesel::result::Error> for Trial {
    fn from(_: diesel::result::Error) -> Self {
        Self::Failed
    }
}

fn log_postponement(error: &pg::Error, events: usize) {
    let cause: &dyn std::error::Error = error;
    warn!(error = cause, events, "Postponed {events} events, the database does not take them");
}
