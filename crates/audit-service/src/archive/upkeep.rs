use std::time::Duration;

use chrono::{TimeDelta, Utc};
use clock::SharedClock;
use service_runtime::CancellationToken;
use tokio::time::sleep;
use tracing::{info, warn};

use super::{
    Archive, Manifest, Segment,
    segment::{FOLDER, MANIFEST_SUFFIX, SEGMENT_SUFFIX, range},
};
use crate::store;

/// So many events are in a segment at most. It is made in memory: some MiB.
const SEGMENT_EVENTS: u64 = 20_000;
/// So many rows are read at once.
const BATCH: i64 = 1_000;
const LOOK_EVERY: Duration = Duration::from_mins(1);

/// Keeps the archive up to date with the log.
pub struct Upkeep {
    database: pg::Database,
    archive: Archive,
    clock: SharedClock,
    /// A segment is begun when it will be full, or when its first event is that old.
    period: TimeDelta,
}

/// What a run did.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Archived {
    /// Another replica is at it.
    Elsewhere,
    /// What it wrote, and up to which `seq` everything is in the archive.
    Here { segments: Vec<Manifest>, up_to_seq: i64 },
}

/// Why the archive is not up to date.
#[derive(Debug, thiserror::Error)]
pub enum ArchiveError {
    #[error("the log cannot be read")]
    Database(#[from] pg::Error),
    #[error("the archive cannot be reached")]
    Store(#[from] object_store::Error),
    #[error("a segment cannot be compressed")]
    Compression(#[from] std::io::Error),
    #[error("{0} is no manifest")]
    Manifest(String, #[source] serde_json::Error),
    #[error("{0} came back as something else than was written")]
    ReadBack(String),
    #[error("the archive has events up to {archived}, the log up to {log}: one of them is not this log's")]
    Ahead { archived: i64, log: i64 },
    #[error("event {seq} is another one in the archive than in the log: one of them is not this log's")]
    Foreign { seq: i64 },
}

impl Upkeep {
    #[must_use]
    pub fn new(database: pg::Database, archive: Archive, clock: SharedClock, period: TimeDelta) -> Self {
        Self { database, archive, clock, period }
    }

    /// Looks again and again, until `stop`.
    pub async fn run(self, stop: CancellationToken) {
        let _ = stop.run_until_cancelled(self.run_for_ever()).await;
    }

    async fn run_for_ever(&self) {
        loop {
            match self.archive_due().await {
                Ok(Archived::Here { segments, up_to_seq }) if !segments.is_empty() => {
                    info!(segments = segments.len(), seq = up_to_seq, "Archived events up to {up_to_seq}");
                }
                Ok(_) => {}
                Err(error) => log_failure(&error),
            }
            sleep(LOOK_EVERY).await;
        }
    }

    /// Archives what is due.
    pub async fn archive_due(&self) -> Result<Archived, ArchiveError> {
        self.archive(Some(self.clock.now() - self.period)).await
    }

    /// Archives everything that there is.
    pub async fn archive_all(&self) -> Result<Archived, ArchiveError> {
        self.archive(None).await
    }

    /// Up to which `seq` everything is in the archive.
    pub async fn archived_up_to(&self) -> Result<i64, ArchiveError> {
        Ok(self.last_manifest().await?.map_or(0, |manifest| manifest.to_seq))
    }

    async fn archive(&self, due: Option<chrono::DateTime<Utc>>) -> Result<Archived, ArchiveError> {
        let mut conn = self.database.connection().await?;
        // The session's, not a transaction's: uploads take long. It goes with the connection if this process dies.
        if !store::rows::try_lock_archive(&mut conn).await? {
            return Ok(Archived::Elsewhere);
        }
        let archived = self.archive_alone(&mut conn, due).await;
        store::rows::unlock_archive(&mut conn).await?;
        archived
    }

    async fn archive_alone(
        &self,
        conn: &mut pg::AsyncPgConnection,
        due: Option<chrono::DateTime<Utc>>,
    ) -> Result<Archived, ArchiveError> {
        let end = store::chain::heads(conn).await?.seq();
        let last = self.last_manifest().await?;
        let mut up_to_seq = last.as_ref().map_or(0, |manifest| manifest.to_seq);
        if up_to_seq > end {
            return Err(ArchiveError::Ahead { archived: up_to_seq, log: end });
        }
        if let Some(last) = &last {
            // Retention may have dropped it.
            let ours = store::rows::hash(conn, up_to_seq).await?;
            if ours.is_some_and(|ours| ours != last.last_hash) {
                return Err(ArchiveError::Foreign { seq: up_to_seq });
            }
        }
        self.remove_unfinished(up_to_seq).await?;
        let mut segments = Vec::new();
        while up_to_seq < end {
            let is_full = end.abs_diff(up_to_seq) >= SEGMENT_EVENTS;
            let waits = match due {
                Some(due) if !is_full => !store::rows::is_older(conn, up_to_seq, due).await?,
                _ => false,
            };
            if waits {
                break;
            }
            let Some(segment) = self.collect(conn, up_to_seq, end).await? else { break };
            let manifest = self.store(segment).await?;
            up_to_seq = manifest.to_seq;
            segments.push(manifest);
        }
        Ok(Archived::Here { segments, up_to_seq })
    }

    /// The next rows behind `after`; `None` when retention left none.
    async fn collect(
        &self,
        conn: &mut pg::AsyncPgConnection,
        after: i64,
        end: i64,
    ) -> Result<Option<Segment>, ArchiveError> {
        let mut segment = Segment::after(after);
        while segment.events() < SEGMENT_EVENTS {
            let rows = store::rows::raw(conn, segment.to_seq(), end, BATCH).await?;
            if rows.is_empty() {
                break;
            }
            segment.add(&rows)?;
        }
        Ok(Some(segment).filter(|segment| segment.events() > 0))
    }

    /// The segment, then what proves it.
    async fn store(&self, segment: Segment) -> Result<Manifest, ArchiveError> {
        let (object, manifest) = segment.finish(self.clock.now())?;
        self.archive.put(&manifest.object, object).await?;
        let read_back = self.archive.get(&manifest.object).await?.unwrap_or_default();
        if !manifest.describes(&read_back)? {
            return Err(ArchiveError::ReadBack(manifest.object));
        }
        let text = serde_json::to_vec_pretty(&manifest)
            .map_err(|error| ArchiveError::Manifest(manifest.name(), error))?;
        self.archive.put(&manifest.name(), text).await?;
        Ok(manifest)
    }

    /// What was done is known from the archive itself, so that nothing has to be remembered.
    async fn last_manifest(&self) -> Result<Option<Manifest>, ArchiveError> {
        let names = self.archive.names(FOLDER).await?;
        let is_manifest = |name: &&String| name.ends_with(MANIFEST_SUFFIX) && range(name).is_some();
        let Some(name) = names.iter().rfind(is_manifest) else { return Ok(None) };
        let text = self.archive.get(name).await?.unwrap_or_default();
        let manifest =
            serde_json::from_slice(&text).map_err(|error| ArchiveError::Manifest(name.clone(), error))?;
        Ok(Some(manifest))
    }

    /// A segment without a manifest is what a run left that was ended in between.
    async fn remove_unfinished(&self, up_to_seq: i64) -> Result<(), ArchiveError> {
        for name in self.archive.names(FOLDER).await? {
            if name.ends_with(SEGMENT_SUFFIX) && range(&name).is_some_and(|(from, _)| from > up_to_seq) {
                warn!(object = name, "Removes {name}, which was never finished");
                self.archive.delete(&name).await?;
            }
        }
        Ok(())
    }
}

fn log_failure(error: &ArchiveError) {
    let cause: &dyn std::error::Error = error;
    warn!(error = cause, "The archive is not up to date");
}
