use auth_proto::audit::v1::{TailRequest, TailResponse};
use futures::stream::BoxStream;
use tonic::Status;

use crate::app::AuditLog;

pub type Tail = BoxStream<'static, Result<TailResponse, Status>>;

#[expect(clippy::unused_async, reason = "the log is not told yet")]
pub async fn tail(_log: &AuditLog, _request: &TailRequest) -> Result<Tail, Status> {
    Err(Status::unimplemented("The log cannot be followed yet."))
}
