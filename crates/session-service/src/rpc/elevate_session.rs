use auth_proto::session::v1::{ElevateSessionRequest, ElevateSessionResponse};
use tonic::Status;

use super::{invalid_request::InvalidRequest, messages, refuse};
use crate::{
    app::elevate_session::{self, ElevateSession},
    domain::session::Proof,
    state::App,
};

pub async fn elevate_session(
    app: &App,
    request: ElevateSessionRequest,
) -> Result<ElevateSessionResponse, Status> {
    let request = parse(request)?;
    let elevated = elevate_session::elevate_session(app, request).await.map_err(refuse)?;
    Ok(ElevateSessionResponse {
        access_token: elevated.access.access,
        access_expires_in: Some(messages::duration(elevated.access.access_expires_in)),
        session: Some(messages::session(elevated.session)),
    })
}

fn parse(request: ElevateSessionRequest) -> Result<ElevateSession, InvalidRequest> {
    let session_id = messages::parse_id("session_id", &request.session_id)?;
    let user_id = messages::parse_id("user_id", &request.user_id)?;
    let amr = messages::parse_methods(request.amr)?;
    let aal = messages::parse_aal(request.aal)?;
    let device = messages::parse_device(request.device)?;
    Ok(ElevateSession { session_id, user_id, proof: Proof { amr, aal }, device })
}
