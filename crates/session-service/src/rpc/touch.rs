use auth_proto::session::v1::{TouchRequest, TouchResponse};
use tonic::Status;

use super::{invalid_request::InvalidRequest, messages};
use crate::{app::touch, state::App, store::sessions::Sighting};

const MAX_SIGHTINGS: usize = 500;

pub fn touch(app: &App, request: TouchRequest) -> Result<TouchResponse, Status> {
    if request.sightings.len() > MAX_SIGHTINGS {
        return Err(InvalidRequest::new("sightings", "must be at most 500").into());
    }
    let now = app.now();
    let sightings = request.sightings.into_iter().map(|sighting| {
        Ok(Sighting {
            session: messages::parse_id("sightings.session_id", &sighting.session_id)?,
            token: messages::parse_id("sightings.token_id", &sighting.token_id)?,
            at: messages::parse_time("sightings.at", sighting.at)?.unwrap_or(now),
        })
    });
    let sightings: Vec<_> = sightings.collect::<Result<_, InvalidRequest>>()?;
    touch::touch(app, sightings);
    Ok(TouchResponse {})
}
