use auth_proto::audit::v1::{EraseSubjectRequest, EraseSubjectResponse};
use service_runtime::grpc::Caller;
use tonic::Status;

use crate::app::AuditLog;

#[expect(clippy::unused_async, reason = "personal data is not sealed yet")]
pub async fn erase_subject(
    _log: &AuditLog,
    _request: &EraseSubjectRequest,
    _caller: &Caller,
) -> Result<EraseSubjectResponse, Status> {
    Err(Status::unimplemented("Personal data is not sealed yet."))
}
