use auth_proto::audit::v1::{Count, StatsRequest, StatsResponse};

use super::{criteria::criteria, event::timestamp};
use crate::app::{AuditLog, SearchError};

pub async fn stats(log: &AuditLog, request: &StatsRequest) -> Result<StatsResponse, SearchError> {
    let criteria = criteria(request.filter.as_ref(), request.scope.as_ref())?;
    let stats = log.stats(&criteria).await?;
    let counts = stats.tallies.into_iter().map(|tally| Count {
        r#type: tally.name,
        outcome: tally.outcome,
        events: tally.events.unsigned_abs(),
    });
    Ok(StatsResponse {
        counts: counts.collect(),
        events: stats.events.unsigned_abs(),
        since: stats.since.map(timestamp),
        is_partial: stats.is_partial,
        last_seq: stats.last_seq,
        log_events_estimate: stats.log_estimate.unsigned_abs(),
    })
}
