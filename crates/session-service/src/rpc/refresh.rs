use auth_proto::session::v1::{RefreshRequest, RefreshResponse};
use tonic::Status;

use super::{messages, refuse};
use crate::{
    app::refresh::{self, Refresh},
    state::App,
};

pub async fn refresh(app: &App, request: RefreshRequest) -> Result<RefreshResponse, Status> {
    let RefreshRequest { refresh_token, device, request_id } = request;
    let device = messages::parse_device(device)?;
    let client = messages::parse_client(&device, request_id)?;
    let issued =
        refresh::refresh(app, Refresh { token: refresh_token, device, client }).await.map_err(refuse)?;
    Ok(RefreshResponse {
        tokens: Some(messages::tokens(issued.tokens)),
        session: Some(messages::session(issued.session)),
    })
}
