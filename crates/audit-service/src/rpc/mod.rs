//! The edge to gRPC.

mod erase_subject;
mod event;
mod export;
mod get;
mod list_checkpoints;
mod search;
mod stats;
mod tail;
mod verify_chain;

use auth_proto::audit::v1::{
    EraseSubjectRequest, EraseSubjectResponse, ExportRequest, GetRequest, GetResponse,
    ListCheckpointsRequest, ListCheckpointsResponse, SearchRequest, SearchResponse, StatsRequest,
    StatsResponse, TailRequest, VerifyChainRequest, VerifyChainResponse, audit_service_server::AuditService,
};
use service_error::{ErrorKind, ServiceError, into_status};
use service_runtime::grpc::Caller;
use tonic::{Request, Response, Status};
use tracing::{error, warn};

use crate::app::AuditLog;

/// auth-api asks for its administrators, whose rights it has checked, and for users who look at their own events.
const READERS: &[&str] = &["auth-api", "operator"];

/// Which roles may call which method.
pub const ALLOWED: &[(&str, &[&str])] = &[
    ("/feature_auth.audit.v1.AuditService/Search", READERS),
    ("/feature_auth.audit.v1.AuditService/Get", READERS),
    ("/feature_auth.audit.v1.AuditService/Tail", READERS),
    ("/feature_auth.audit.v1.AuditService/Export", READERS),
    ("/feature_auth.audit.v1.AuditService/VerifyChain", READERS),
    ("/feature_auth.audit.v1.AuditService/ListCheckpoints", READERS),
    // Of accounts that are deleted nothing personal is to remain.
    ("/feature_auth.audit.v1.AuditService/EraseSubject", READERS),
    ("/feature_auth.audit.v1.AuditService/Stats", READERS),
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

    type TailStream = tail::Tail;

    async fn tail(&self, request: Request<TailRequest>) -> Result<Response<Self::TailStream>, Status> {
        tail::tail(&self.log, &request.into_inner()).await.map(Response::new)
    }

    type ExportStream = export::Export;

    async fn export(&self, request: Request<ExportRequest>) -> Result<Response<Self::ExportStream>, Status> {
        export::export(&self.log, &request.into_inner()).await.map(Response::new)
    }

    async fn verify_chain(
        &self,
        request: Request<VerifyChainRequest>,
    ) -> Result<Response<VerifyChainResponse>, Status> {
        verify_chain::verify_chain(&self.log, &request.into_inner()).await.map(Response::new)
    }

    async fn list_checkpoints(
        &self,
        request: Request<ListCheckpointsRequest>,
    ) -> Result<Response<ListCheckpointsResponse>, Status> {
        list_checkpoints::list_checkpoints(&self.log, &request.into_inner()).await.map(Response::new)
    }

    async fn erase_subject(
        &self,
        request: Request<EraseSubjectRequest>,
    ) -> Result<Response<EraseSubjectResponse>, Status> {
        let caller = caller(&request);
        erase_subject::erase_subject(&self.log, &request.into_inner(), &caller).await.map(Response::new)
    }

    async fn stats(&self, request: Request<StatsRequest>) -> Result<Response<StatsResponse>, Status> {
        stats::stats(&self.log, &request.into_inner()).await.map(Response::new)
    }
}

/// Who calls, by their certificate.
fn caller<T>(request: &Request<T>) -> Caller {
    request.extensions().get::<Caller>().cloned().unwrap_or_else(Caller::unverified)
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
