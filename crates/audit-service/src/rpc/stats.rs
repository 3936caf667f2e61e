use auth_proto::audit::v1::{StatsRequest, StatsResponse};
use tonic::Status;

use crate::app::AuditLog;

#[expect(clippy::unused_async, reason = "nothing is counted yet")]
pub async fn stats(_log: &AuditLog, _request: &StatsRequest) -> Result<StatsResponse, Status> {
    Err(Status::unimplemented("Events cannot be counted yet."))
}
