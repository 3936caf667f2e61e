use auth_proto::audit::v1::{ExportRequest, ExportResponse};
use futures::stream::BoxStream;
use tonic::Status;

use crate::app::AuditLog;

pub type Export = BoxStream<'static, Result<ExportResponse, Status>>;

#[expect(clippy::unused_async, reason = "there is no export yet")]
pub async fn export(_log: &AuditLog, _request: &ExportRequest) -> Result<Export, Status> {
    Err(Status::unimplemented("The log cannot be exported yet."))
}
