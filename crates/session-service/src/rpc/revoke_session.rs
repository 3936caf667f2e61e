use auth_proto::session::v1::{
    RevokeSessionRequest, RevokeSessionResponse, revoke_session_request::Target as ProtoTarget,
};
use tonic::Status;

use super::{invalid_request::InvalidRequest, messages, refuse};
use crate::{
    app::revoke_session::{self, RevokeSession, Target},
    state::App,
};

pub async fn revoke_session(
    app: &App,
    request: RevokeSessionRequest,
    caller: String,
) -> Result<RevokeSessionResponse, Status> {
    let request = parse(request, caller)?;
    let revoked = revoke_session::revoke_session(app, request).await.map_err(refuse)?;
    Ok(RevokeSessionResponse {
        revoked: revoked.was_live,
        session_id: revoked.session_id.to_string(),
        user_id: revoked.user_id.to_string(),
    })
}

fn parse(request: RevokeSessionRequest, caller: String) -> Result<RevokeSession, InvalidRequest> {
    let target = match request.target.ok_or(InvalidRequest::new("target", "is required"))? {
        ProtoTarget::SessionId(id) => Target::Session(messages::parse_id("session_id", &id)?),
        ProtoTarget::RefreshToken(token) => Target::RefreshToken(token),
        ProtoTarget::AccessToken(token) => Target::AccessToken(token),
    };
    let user_id = messages::present(request.user_id);
    let user_id = user_id.map(|id| messages::parse_id("user_id", &id)).transpose()?;
    let reason = messages::parse_reason(request.reason)?;
    let device = messages::parse_device(request.device)?;
    let client = messages::parse_client(&device, request.request_id)?;
    Ok(RevokeSession { target, user_id, reason, caller, client })
}
