//! Remembers which sessions are in use and writes it down in batches, outside of any answer.

use std::{collections::HashMap, mem, sync::Arc, time::Duration};

use auth_ids::AccessTokenId;
use parking_lot::Mutex;
use pg::Database;
use tokio_util::sync::CancellationToken;
use tracing::debug;

use crate::store::sessions::{self, Sighting};

const PERIOD: Duration = Duration::from_secs(1);
/// More tokens than this in one period are told at their next use.
const CAPACITY: usize = 50_000;
const BATCH: usize = 500;

/// The sightings that are not stored yet; clones share them.
#[derive(Debug, Clone, Default)]
pub struct LastSeen(Arc<Mutex<HashMap<AccessTokenId, Sighting>>>);

impl LastSeen {
    /// Takes note; never waits for the database.
    pub fn note(&self, sighting: Sighting) {
        let mut sightings = self.0.lock();
        if sightings.len() < CAPACITY || sightings.contains_key(&sighting.token) {
            sightings.insert(sighting.token, sighting);
        }
    }

    /// What was seen of these tokens meanwhile is newer.
    fn put_back(&self, unstored: &[Sighting]) {
        let mut sightings = self.0.lock();
        for sighting in unstored {
            if sightings.len() < CAPACITY {
                sightings.entry(sighting.token).or_insert(*sighting);
            }
        }
    }

    /// Stores the notes each period until `stop`, and then those that there are. Calls that still run make more.
    pub async fn keep_stored(self, database: Database, stop: CancellationToken) {
        loop {
            let stopped = stop.run_until_cancelled(tokio::time::sleep(PERIOD)).await.is_none();
            self.store(&database).await;
            if stopped {
                return;
            }
        }
    }

    /// What cannot be stored is kept for the next time.
    pub async fn store(&self, database: &Database) {
        let sightings: Vec<Sighting> = mem::take(&mut *self.0.lock()).into_values().collect();
        for (index, batch) in sightings.chunks(BATCH).enumerate() {
            if let Err(error) = store_batch(database, batch).await {
                let left = sightings.get(index * BATCH..).unwrap_or_default();
                debug!(error = &error as &dyn std::error::Error, "{} sightings are not stored", left.len());
                return self.put_back(left);
            }
        }
    }
}

async fn store_batch(database: &Database, batch: &[Sighting]) -> pg::Result<usize> {
    let mut conn = database.connection().await?;
    sessions::record_sightings(&mut conn, batch).await
}

#[cfg(test)]
mod tests {
    use chrono::DateTime;
    use clock::SystemClock;

    use super::*;

    #[test]
    fn there_is_one_note_for_each_token_and_no_more_than_the_capacity() {
        let seen = LastSeen::default();
        let mut rng = clock::secure_rng();
        let mut sighting = || Sighting {
            session: auth_ids::generate(&SystemClock, &mut rng),
            token: auth_ids::generate(&SystemClock, &mut clock::secure_rng()),
            at: DateTime::UNIX_EPOCH,
        };
        let first = sighting();
        seen.note(first);
        // An older token of the same session hides nothing.
        seen.note(Sighting { token: sighting().token, ..first });
        for _ in 0..CAPACITY {
            seen.note(sighting());
        }
        let again = Sighting { at: DateTime::UNIX_EPOCH + chrono::TimeDelta::seconds(1), ..first };
        seen.note(again);
        let notes = seen.0.lock();
        assert_eq!((notes.len(), notes[&first.token]), (CAPACITY, again));
        assert_eq!(notes.values().filter(|note| note.session == first.session).count(), 2);
    }
}
