//! Takes note of what others saw in use.

use crate::{state::App, store::sessions::Sighting};

/// Takes note that access tokens are in use. They are stored with the others, soon; nobody waits for that.
pub fn touch(app: &App, sightings: impl IntoIterator<Item = Sighting>) {
    let now = app.now();
    for sighting in sightings {
        app.last_seen.note(Sighting { at: sighting.at.min(now), ..sighting });
    }
}
