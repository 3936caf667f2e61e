use auth_proto::session::v1::{ListSessionsRequest, ListSessionsResponse};
use tonic::Status;

use super::{messages, refuse};
use crate::{app::list_sessions, state::App};

pub async fn list_sessions(app: &App, request: ListSessionsRequest) -> Result<ListSessionsResponse, Status> {
    let user = messages::parse_id("user_id", &request.user_id)?;
    let sessions = list_sessions::list_sessions(app, user).await.map_err(refuse)?;
    Ok(ListSessionsResponse { sessions: sessions.into_iter().map(messages::session).collect() })
}
