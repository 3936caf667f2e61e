use std::collections::HashSet;

use auth_ids::GenericUuid;
use diesel_async::{AsyncConnection, AsyncPgConnection};
use tracing::{error, warn};

use super::{
    AuditLog,
    personal::{SealError, SealedEvent},
};
use crate::{
    domain::{Class, Event, chain::RowContent},
    store::{
        self,
        chain::{Heads, NewRow, NewTag},
    },
};

/// How many events at a time a database takes that is too slow for a whole batch.
const PART: usize = 64;

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
    /// Records `events` in one transaction, in smaller ones when that takes the database too long, or one by one when it refuses one of them.
    pub async fn record(&self, events: &[Event]) -> Recording {
        if events.is_empty() {
            return Recording { fates: Vec::new(), new_types: Vec::new() };
        }
        match self.append(events).await {
            Ok(new_types) => Recording { fates: vec![Fate::Recorded; events.len()], new_types },
            Err(error) if error.is_timeout() && events.len() > PART => self.record_in_parts(events).await,
            Err(error) if error.is_transient() => {
                log_postponement(&error, events.len());
                Recording { fates: vec![Fate::Postponed; events.len()], new_types: Vec::new() }
            }
            Err(_) => self.record_one_by_one(events).await,
        }
    }

    async fn record_in_parts(&self, events: &[Event]) -> Recording {
        let mut recording = Recording { fates: Vec::with_capacity(events.len()), new_types: Vec::new() };
        for part in events.chunks(PART) {
            let Recording { fates, new_types } = Box::pin(self.record(part)).await;
            recording.new_types.extend(new_types);
            recording.fates.extend(fates);
            if recording.fates.contains(&Fate::Postponed) {
                break;
            }
        }
        recording.fates.resize(events.len(), Fate::Postponed);
        recording
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
    async fn judge(&self, event: &Event, error: &AppendError) -> Fate {
        if error.is_transient() || !self.takes_rows().await {
            log_postponement(error, 1);
            return Fate::Postponed;
        }
        let cause: &dyn std::error::Error = error;
        error!(event.id = %event.id, event.type = event.name, error = cause, "The database refuses event {}", event.id);
        Fate::Refused
    }

    async fn append(&self, events: &[Event]) -> Result<Vec<String>, AppendError> {
        let mut conn = self.database.connection().await?;
        conn.transaction(async |conn| self.append_with(conn, events).await).await
    }

    /// Appends the events that the log does not have yet, in their order, and says which types these had.
    pub(super) async fn append_with(
        &self,
        conn: &mut AsyncPgConnection,
        events: &[Event],
    ) -> Result<Vec<String>, AppendError> {
        let heads = store::chain::lock_heads(conn).await?;
        let ids: Vec<_> = events.iter().map(|event| event.id.into_untyped_uuid()).collect();
        let mut known: HashSet<_> = store::chain::known(conn, &ids).await?;
        let new: Vec<&Event> =
            events.iter().filter(|event| known.insert(event.id.into_untyped_uuid())).collect();
        if new.is_empty() {
            return Ok(Vec::new());
        }
        let sealed = self.personal.seal(conn, &new, heads.now).await?;
        let (rows, tags) = chain(&new, &sealed, heads);
        store::chain::append(conn, &rows, &tags).await?;
        Ok(new.iter().map(|event| event.name.clone()).collect())
    }

    /// Whether the database would take a row that is certainly good. The SQLSTATE of a failed insert would not tell: a missing
    /// table, a missing grant and a full disk are no more the row's fault than a lost connection is.
    async fn takes_rows(&self) -> bool {
        let Ok(mut conn) = self.database.connection().await else { return false };
        let outcome = conn
            .transaction(async |conn| {
                self.append_with(conn, &[Event::specimen()]).await.map_err(|_| Trial::Failed)?;
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

/// Makes rows of `events`, each chained to the one before.
fn chain<'a>(
    events: &[&'a Event],
    sealed: &'a [SealedEvent],
    mut heads: Heads,
) -> (Vec<NewRow<'a>>, Vec<NewTag>) {
    let (mut rows, mut tags) = (Vec::with_capacity(events.len()), Vec::new());
    let mut buffer = Vec::new();
    let (mut seq, recorded_at) = (heads.seq(), heads.now);
    for (event, sealed) in events.iter().copied().zip(sealed) {
        let class = Class::of(&event.name);
        let mut head = heads.of(class);
        seq += 1;
        let mut row = NewRow {
            event,
            class,
            seq,
            position: head.position + 1,
            recorded_at,
            actor_name: sealed.actor_name.as_deref(),
            detail: &sealed.detail,
            sealed_client: sealed.client.as_deref(),
            sealed_detail: sealed.personal_detail.as_deref(),
            prev_hash: head.hash,
            hash: head.hash,
        };
        row.hash = content(&row).hash(seq, &head.hash, &mut buffer);
        (head.seq, head.position, head.hash) = (seq, row.position, row.hash);
        heads.chains.insert(class, head);
        let tag = sealed.tag.clone();
        tags.extend(tag.map(|(tag, owner_id)| NewTag { class, seq, recorded_at, tag, owner_id }));
        rows.push(row);
    }
    (rows, tags)
}

fn content<'a>(row: &NewRow<'a>) -> RowContent<'a> {
    let event = row.event;
    RowContent {
        class: row.class.name(),
        position: row.position,
        id: event.id.into_untyped_uuid(),
        name: &event.name,
        version: event.version.into(),
        source: &event.source,
        occurred_at: event.occurred_at.timestamp_micros(),
        recorded_at: row.recorded_at.timestamp_micros(),
        subject_id: event.subject_id.map(GenericUuid::into_untyped_uuid),
        actor_kind: event.actor.kind.name(),
        actor_id: event.actor.id,
        actor_name: row.actor_name,
        outcome: event.outcome.name(),
        severity: event.severity.name(),
        reason: event.reason.as_deref(),
        target_kind: event.target.as_ref().map(|target| &*target.kind),
        target_id: event.target.as_ref().map(|target| &*target.id),
        request_id: event.client.request_id.as_deref(),
        trace_id: event.trace_id.as_deref(),
        detail: row.detail,
        sealed_client: row.sealed_client,
        sealed_detail: row.sealed_detail,
    }
}

/// Why nothing was appended.
#[derive(Debug, thiserror::Error)]
pub(super) enum AppendError {
    #[error(transparent)]
    Database(#[from] pg::Error),
    #[error("personal data cannot be sealed")]
    Unsealed(#[source] SealError),
}
pg::leaves_transactions!(AppendError);

impl AppendError {
    fn is_timeout(&self) -> bool {
        matches!(self, Self::Database(pg::Error::Timeout(_)))
    }

    /// Whether trying again later may help. It does when somebody mends the keys.
    fn is_transient(&self) -> bool {
        match self {
            Self::Database(error) => error.is_transient(),
            Self::Unsealed(_) => true,
        }
    }
}

impl From<SealError> for AppendError {
    fn from(error: SealError) -> Self {
        match error {
            SealError::Database(error) => Self::Database(error),
            unusable @ SealError::KeyUnusable(_) => Self::Unsealed(unusable),
        }
    }
}

fn log_postponement(error: &AppendError, events: usize) {
    let cause: &dyn std::error::Error = error;
    warn!(error = cause, events, "Postponed {events} events, the database does not take them");
}
