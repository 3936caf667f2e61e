use auth_proto::session::v1::{RevokeUserSessionsRequest, RevokeUserSessionsResponse};
use tonic::Status;

use super::{invalid_request::InvalidRequest, messages, refuse};
use crate::{
    app::revoke_user_sessions::{self, RevokeUserSessions},
    state::App,
};

pub async fn revoke_user_sessions(
    app: &App,
    request: RevokeUserSessionsRequest,
    caller: String,
) -> Result<RevokeUserSessionsResponse, Status> {
    let request = parse(request, caller)?;
    let revoked = revoke_user_sessions::revoke_user_sessions(app, request).await.map_err(refuse)?;
    Ok(RevokeUserSessionsResponse { revoked })
}

fn parse(request: RevokeUserSessionsRequest, caller: String) -> Result<RevokeUserSessions, InvalidRequest> {
    let user_id = messages::parse_id("user_id", &request.user_id)?;
    // What is empty is refused: it would end the very session that is to be kept.
    let except =
        request.except_session_id.map(|id| messages::parse_id("except_session_id", &id)).transpose()?;
    let reason = messages::parse_reason(request.reason)?;
    let device = messages::parse_device(request.device)?;
    let client = messages::parse_client(&device, request.request_id)?;
    Ok(RevokeUserSessions { user_id, except, reason, caller, client })
}
