use std::collections::BTreeMap;

use auth_ids::Uuid;
use chrono::{DateTime, Utc};
use diesel_async::AsyncConnection;
use tracing::error;

use super::AuditLog;
use crate::{
    domain::arrivals::{Arrivals, LATE},
    store,
};

/// A fact that arrived, whatever became of it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Arrival {
    /// The publishing connection.
    pub publisher: Uuid,
    pub number: i64,
    /// Everything up to this number was confirmed by the broker before.
    pub settled: i64,
    /// The service that said it, where that is known.
    pub source: Option<String>,
}

impl AuditLog {
    /// Takes note of what arrived, and says of which sources something was confirmed and never did, and how much.
    pub async fn note_arrivals(
        &self,
        arrived: &[Arrival],
        now: DateTime<Utc>,
    ) -> pg::Result<BTreeMap<String, i64>> {
        let mut by_publisher: BTreeMap<Uuid, Vec<&Arrival>> = BTreeMap::new();
        for arrival in arrived {
            by_publisher.entry(arrival.publisher).or_default().push(arrival);
        }
        if by_publisher.is_empty() {
            return Ok(BTreeMap::new());
        }
        let mut conn = self.database.connection().await?;
        conn.transaction(async |conn| {
            let publishers: Vec<Uuid> = by_publisher.keys().copied().collect();
            let mut noted = store::producers::lock(conn, &publishers).await?;
            let mut lost = BTreeMap::new();
            for (publisher, arrived) in by_publisher {
                let mut arrivals = noted.remove(&publisher).unwrap_or_default();
                for arrival in &arrived {
                    arrivals.arrive(arrival.number, arrival.settled, now);
                }
                let source = arrived.iter().find_map(|it| it.source.as_deref()).unwrap_or("unknown");
                count_lost(&mut lost, publisher, source, &mut arrivals, now);
                store::producers::save(conn, publisher, source, &arrivals, now).await?;
            }
            Ok(lost)
        })
        .await
    }

    /// The same of connections of which nothing arrives any more: a broker that loses messages loses its connections, too.
    pub async fn note_absences(&self, now: DateTime<Utc>) -> pg::Result<BTreeMap<String, i64>> {
        let mut conn = self.database.connection().await?;
        conn.transaction(async |conn| {
            let mut lost = BTreeMap::new();
            for waiting in store::producers::lock_silent(conn, now - LATE).await? {
                let mut arrivals = waiting.arrivals;
                let (publisher, source) = (waiting.publisher, &*waiting.source);
                if count_lost(&mut lost, publisher, source, &mut arrivals, now) {
                    store::producers::save(conn, publisher, source, &arrivals, now).await?;
                }
            }
            Ok(lost)
        })
        .await
    }

    /// Forgets connections that are long gone.
    pub async fn forget_silent_producers(&self) -> pg::Result<()> {
        store::producers::forget_silent(&mut *self.database.connection().await?).await
    }
}

/// Adds what is lost of a connection; whether there is anything.
fn count_lost(
    lost: &mut BTreeMap<String, i64>,
    publisher: Uuid,
    source: &str,
    arrivals: &mut Arrivals,
    now: DateTime<Utc>,
) -> bool {
    let count = arrivals.lost(now);
    if count == 0 {
        return false;
    }
    error!(source, publisher = %publisher, "{count} facts of {source} were confirmed and never arrived");
    *lost.entry(source.to_owned()).or_default() += count;
    true
}
