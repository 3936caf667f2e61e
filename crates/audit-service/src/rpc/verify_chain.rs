use auth_proto::audit::v1::{VerifyChainRequest, VerifyChainResponse};
use tonic::Status;

use crate::app::AuditLog;

#[expect(clippy::unused_async, reason = "the chain is not there yet")]
pub async fn verify_chain(
    _log: &AuditLog,
    _request: &VerifyChainRequest,
) -> Result<VerifyChainResponse, Status> {
    Err(Status::unimplemented("The log has no chain yet."))
}
