//! The edge to gRPC.

mod event;
mod get;
mod search;

use auth_proto::audit::v1::{
    GetRequest, GetResponse, SearchRequest, SearchResponse, audit_service_server::AuditService,
};
use service_error::{ErrorKind, ServiceError, into_status};
use tonic::{Request, Response, Status};
use tracing::{error, warn};

use crate::app::AuditLog;

const READERS: &[&str] = &["auth-api", "operator"];

/// Which roles may call which method.
pub const ALLOWED: &[(&str, &[&str])] = &[
    ("/feature_auth.audit.v1.AuditService/Search", READERS),
    ("/feature_auth.audit.v1.AuditService/Get", READERS),
];

/// `feature_auth.audit.v1.AuditService`.
pub struct AuditRpc {
    log: AuditLog,
}

impl AuditRpc {
    pub fn new(log: AuditLog) -> Self {
        Self { log }
    }
}

#[tonic::async_trait]
impl AuditService for AuditRpc {
    async fn search(&self, request: Request<SearchRequest>) -> Result<Response<SearchResponse>, Status> {
        search::search(&self.log, &request.into_inner())
            .await
            .map(Response::new)
            .map_err(|error| status(&error))
    }

    async fn get(&self, request: Request<GetRequest>) -> Result<Response<GetResponse>, Status> {
        get::get(&self.log, &request.into_inner()).await.map(Response::new).map_err(|error| status(&error))
    }
}

/// The caller learns the kind of a failure on our side, the log its cause.
fn status(failure: &(impl ServiceError + 'static)) -> Status {
    let cause: &(dyn std::error::Error + 'static) = failure;
    match failure.kind() {
        ErrorKind::Internal => error!(error = cause, "A query of the audit log failed"),
        ErrorKind::Unavailable => warn!(error = cause, "A query of the audit log found no database"),
        _ => {}
    }
    into_status(failure)
}
