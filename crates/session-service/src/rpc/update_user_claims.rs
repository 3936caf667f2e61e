use auth_proto::session::v1::{UpdateUserClaimsRequest, UpdateUserClaimsResponse};
use tonic::Status;

use super::{messages, refuse};
use crate::{
    app::update_user_claims::{self, UpdateUserClaims},
    state::App,
};

pub async fn update_user_claims(
    app: &App,
    request: UpdateUserClaimsRequest,
) -> Result<UpdateUserClaimsResponse, Status> {
    let user_id = messages::parse_id("user_id", &request.user_id)?;
    messages::check_names("roles", &request.roles)?;
    messages::check_names("permissions", &request.permissions)?;
    messages::check_grant("permissions", &request.roles, &request.permissions, &[])?;
    let UpdateUserClaimsRequest { roles, permissions, .. } = request;
    let update = UpdateUserClaims { user_id, roles, permissions };
    let updated = update_user_claims::update_user_claims(app, update).await.map_err(refuse)?;
    Ok(UpdateUserClaimsResponse { sessions: updated.sessions, epoch: updated.epoch })
}
