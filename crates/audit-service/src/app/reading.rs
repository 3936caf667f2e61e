use tracing::debug;

use super::{AuditLog, SearchError};
use crate::{
    domain::{Criteria, RecordedEvent},
    store::{
        self,
        search::{Direction, Walk, Wanted},
    },
};

/// So many events are read at once, and no more are in memory.
const BATCH: i64 = 500;
/// How much of the log is looked through by one statement at first, at most, and at least. What matches rarely is looked for in
/// large steps, and what takes too long in small ones.
const FIRST_STEP: i64 = 10_000;
const LONGEST_STEP: i64 = 1_000_000;
const SHORTEST_STEP: i64 = 1_000;

/// A part of the log that is read from old to new, a batch at a time. In between it holds nothing of the database, so that it
/// may take as long as whoever it is for.
pub struct Reading {
    log: AuditLog,
    wanted: Wanted,
    /// Up to here it was read.
    position: i64,
    end: i64,
    step: i64,
}

impl AuditLog {
    /// Reads what matches `criteria` above `after`, up to and with `end`.
    pub async fn read(&self, criteria: &Criteria, after: i64, end: i64) -> Result<Reading, SearchError> {
        let mut conn = self.database.connection().await?;
        let wanted = self.wanted(&mut conn, criteria).await?;
        Ok(Reading { log: self.clone(), wanted, position: after, end, step: FIRST_STEP })
    }

    /// The newest `seq`; 0 when the log is empty.
    pub async fn last_seq(&self) -> pg::Result<i64> {
        let mut conn = self.database.connection().await?;
        Ok(store::chain::heads(&mut conn).await?.seq())
    }
}

impl Reading {
    /// Up to here everything was looked at.
    #[must_use]
    pub fn position(&self) -> i64 {
        self.position
    }

    /// The next events, none of them when a step had none; `None` at the end.
    pub async fn next(&mut self) -> Result<Option<Vec<RecordedEvent>>, SearchError> {
        if self.position >= self.end {
            return Ok(None);
        }
        let end = self.position.saturating_add(self.step).min(self.end);
        let walk = Walk {
            direction: Direction::OldestFirst,
            after: Some(self.position),
            before: end.checked_add(1),
            skip: 0,
            limit: BATCH,
        };
        let mut conn = self.log.database.connection().await?;
        let rows = match store::search::load(&mut conn, &self.wanted, walk).await {
            Ok(rows) => rows,
            Err(pg::Error::Timeout(error)) if self.step > SHORTEST_STEP => {
                debug!(?error, "Reads {} events in smaller steps", self.step);
                self.step = (self.step / 8).max(SHORTEST_STEP);
                return Ok(Some(Vec::new()));
            }
            Err(error) => return Err(error.into()),
        };
        match rows.last() {
            Some(last) if rows.len() as u64 >= BATCH.unsigned_abs() => self.position = last.event.seq,
            _ => {
                self.position = end;
                self.step = self.step.saturating_mul(2).min(LONGEST_STEP);
            }
        }
        let scope = self.wanted.criteria.scope();
        let events = self.log.personal.open(&mut conn, rows).await?;
        Ok(Some(events.into_iter().map(|event| scope.redact(event)).collect()))
    }
}
