use chrono::{DateTime, Utc};

use super::{AuditLog, SearchError};
use crate::{
    domain::Criteria,
    store::{self, search::Tally},
};

/// So many events are counted at most, the newest ones: enough for a picture, and always done in time.
const COUNTED: i64 = 100_000;

/// How much of what was recorded lately.
#[derive(Debug)]
pub struct Stats {
    /// By type and outcome, the most frequent first.
    pub tallies: Vec<Tally>,
    pub events: i64,
    /// When the oldest event that was counted occurred.
    pub since: Option<DateTime<Utc>>,
    /// Whether there may be older ones that match.
    pub is_partial: bool,
    /// The newest of the whole log; 0 when it is empty.
    pub last_seq: i64,
    /// How many events the whole log has, as the planner guesses.
    pub log_estimate: i64,
}

impl AuditLog {
    /// Counts the newest events that match.
    pub async fn stats(&self, criteria: &Criteria) -> Result<Stats, SearchError> {
        let mut conn = self.database.connection().await?;
        let wanted = self.wanted(&mut conn, criteria).await?;
        let tallies = store::search::tally(&mut conn, &wanted, COUNTED).await?;
        let last_seq = store::chain::heads(&mut conn).await?.seq();
        let log_estimate = store::search::size_estimate(&mut conn).await?;
        let events = tallies.iter().map(|tally| tally.events).sum();
        let since = tallies.iter().map(|tally| tally.since).min();
        Ok(Stats { tallies, events, since, is_partial: events >= COUNTED, last_seq, log_estimate })
    }
}
