//! Takes note of what others saw in use.

use chrono::TimeDelta;

use crate::{state::App, store::sessions::Sighting};

/// What is told later is of no use any more, and of some times PostgreSQL knows nothing.
const OLDEST: TimeDelta = TimeDelta::hours(1);

/// Takes note that access tokens are in use. They are stored with the others, soon; nobody waits for that.
pub fn touch(app: &App, sightings: impl IntoIterator<Item = Sighting>) {
    let now = app.now();
    for sighting in sightings.into_iter().filter(|sighting| sighting.at >= now - OLDEST) {
        app.last_seen.note(Sighting { at: sighting.at.min(now), ..sighting });
    }
}
