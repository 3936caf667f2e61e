use auth_proto::audit::v1::{GetRequest, GetResponse};
use tonic::Status;

use super::{criteria, event::event, status};
use crate::{
    app::{AuditLog, GetError, SearchError},
    domain::Scope,
};

/// An id that is no UUID is the id of no event.
pub async fn get(log: &AuditLog, request: &GetRequest) -> Result<GetResponse, Status> {
    let scope: Scope =
        criteria::scope(request.scope.as_ref()).map_err(|error| status(&SearchError::from(error)))?;
    let id = request.id.parse().map_err(|_| status(&GetError::EventNotFound))?;
    let found = log.get(id, &scope).await.map_err(|error| status(&error))?;
    Ok(GetResponse { event: Some(event(found)) })
}
