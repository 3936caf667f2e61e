use auth_proto::audit::v1::{ListCheckpointsRequest, ListCheckpointsResponse};
use tonic::Status;

use crate::app::AuditLog;

#[expect(clippy::unused_async, reason = "the chain is not there yet")]
pub async fn list_checkpoints(
    _log: &AuditLog,
    _request: &ListCheckpointsRequest,
) -> Result<ListCheckpointsResponse, Status> {
    Err(Status::unimplemented("The log has no checkpoints yet."))
}
