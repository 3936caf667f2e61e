//! The edge to gRPC.

mod criteria;
mod erase_subject;
mod event;
mod export;
mod get;
mod list_checkpoints;
mod search;
mod stats;
mod stream_error;
mod tail;
mod verify_chain;

use std::sync::Arc;

use auth_proto::audit::v1::{
    EraseSubjectRequest, EraseSubjectResponse, ExportRequest, GetRequest, GetResponse,
    ListCheckpointsRequest, ListCheckpointsResponse, SearchRequest, SearchResponse, StatsRequest,
    StatsResponse, TailRequest, VerifyChainRequest, VerifyChainResponse, audit_service_server::AuditService,
};
use service_error::{ErrorKind, ServiceError, into_status};
use service_runtime::{CancellationToken, grpc::Caller};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tonic::{Request, Response, Status};
use tracing::{error, warn};

use self::stream_error::StreamError;
use crate::{
    app::{AuditLog, Notary},
    domain::Reader,
    tail::Tail,
};

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

/// How many may follow the log at once, at this replica.
const FOLLOWERS: usize = 64;
/// How many may export it: each reads as fast as it can.
const EXPORTS: usize = 4;

/// `feature_auth.audit.v1.AuditService`.
pub struct AuditRpc {
    log: AuditLog,
    notary: Notary,
    tail: Tail,
    followers: Arc<Semaphore>,
    exports: Arc<Semaphore>,
    /// Streams end when it is cancelled.
    stopping: CancellationToken,
}

impl AuditRpc {
    pub fn new(log: AuditLog, notary: Notary, tail: Tail, stopping: CancellationToken) -> Self {
        let (followers, exports) = (Semaphore::new(FOLLOWERS), Semaphore::new(EXPORTS));
        Self { log, notary, tail, followers: followers.into(), exports: exports.into(), stopping }
    }
}

fn permit(of: &Arc<Semaphore>) -> Result<OwnedSemaphorePermit, Status> {
    Arc::clone(of).try_acquire_owned().map_err(|_| status(&StreamError::TooMany))
}

#[tonic::async_trait]
impl AuditService for AuditRpc {
    async fn search(&self, request: Request<SearchRequest>) -> Result<Response<SearchResponse>, Status> {
        let caller = caller(&request);
        let reader = Reader::of(caller.role(), caller.name());
        search::search(&self.log, &request.into_inner(), reader)
            .await
            .map(Response::new)
            .map_err(|error| status(&error))
    }

    async fn get(&self, request: Request<GetRequest>) -> Result<Response<GetResponse>, Status> {
        get::get(&self.log, &request.into_inner()).await.map(Response::new)
    }

    type TailStream = tail::Following;

    async fn tail(&self, request: Request<TailRequest>) -> Result<Response<Self::TailStream>, Status> {
        let (log, tail, stopping) = (self.log.clone(), self.tail.clone(), self.stopping.clone());
        let permit = permit(&self.followers)?;
        tail::tail(log, tail, &request.into_inner(), permit, stopping).await.map(Response::new)
    }

    type ExportStream = export::Export;

    async fn export(&self, request: Request<ExportRequest>) -> Result<Response<Self::ExportStream>, Status> {
        let (permit, stopping) = (permit(&self.exports)?, self.stopping.clone());
        export::export(&self.log, &request.into_inner(), permit, stopping).await.map(Response::new)
    }

    async fn verify_chain(
        &self,
        request: Request<VerifyChainRequest>,
    ) -> Result<Response<VerifyChainResponse>, Status> {
        verify_chain::verify_chain(&self.notary, &request.into_inner()).await.map(Response::new)
    }

    async fn list_checkpoints(
        &self,
        request: Request<ListCheckpointsRequest>,
    ) -> Result<Response<ListCheckpointsResponse>, Status> {
        list_checkpoints::list_checkpoints(&self.notary, &request.into_inner()).await.map(Response::new)
    }

    async fn erase_subject(
        &self,
        request: Request<EraseSubjectRequest>,
    ) -> Result<Response<EraseSubjectResponse>, Status> {
        let caller = caller(&request);
        erase_subject::erase_subject(&self.log, &request.into_inner(), &caller).await.map(Response::new)
    }

    async fn stats(&self, request: Request<StatsRequest>) -> Result<Response<StatsResponse>, Status> {
        stats::stats(&self.log, &request.into_inner())
            .await
            .map(Response::new)
            .map_err(|error| status(&error))
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
