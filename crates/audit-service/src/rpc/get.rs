use auth_proto::audit::v1::{GetRequest, GetResponse};

use super::event::event;
use crate::app::{AuditLog, GetError};

/// An id that is no UUID is the id of no event.
pub async fn get(log: &AuditLog, request: &GetRequest) -> Result<GetResponse, GetError> {
    let id = request.id.parse().map_err(|_| GetError::EventNotFound)?;
    Ok(GetResponse { event: Some(event(log.get(id).await?)) })
}
