//! The gRPC edge: each method parses, calls one use case and maps the result.

mod create_session;
mod elevate_session;
mod ext_authz;
mod invalid_request;
mod list_sessions;
mod messages;
mod public_keys;
mod refresh;
mod revoke_session;
mod revoke_user_sessions;
mod rotate_keys;
mod touch;
mod update_user_claims;
mod validate;
mod validate_batch;
mod watch_revocations;

use std::{error::Error, sync::Arc};

use auth_proto::session::v1::{
    CreateSessionRequest, CreateSessionResponse, ElevateSessionRequest, ElevateSessionResponse,
    GetPublicKeysRequest, GetPublicKeysResponse, ListSessionsRequest, ListSessionsResponse, RefreshRequest,
    RefreshResponse, RevokeSessionRequest, RevokeSessionResponse, RevokeUserSessionsRequest,
    RevokeUserSessionsResponse, RotateKeysRequest, RotateKeysResponse, TouchRequest, TouchResponse,
    UpdateUserClaimsRequest, UpdateUserClaimsResponse, ValidateBatchRequest, ValidateBatchResponse,
    ValidateRequest, ValidateResponse, WatchRevocationsRequest,
    session_service_server::{SessionService, SessionServiceServer},
};
use service_error::{ErrorKind, ServiceError};
use service_runtime::grpc::{Caller, MAX_MESSAGE_BYTES};
use tokio_util::sync::CancellationToken;
use tonic::{Request, Response, Status};
use tracing::{error, warn};

pub use ext_authz::ext_authz_server;
pub use messages::parse_reason;

use crate::state::App;

/// Which roles may call which method.
pub const POLICY: &[(&str, &[&str])] = &[
    ("/feature_auth.session.v1.SessionService/CreateSession", &["auth-api"]),
    ("/feature_auth.session.v1.SessionService/Validate", &["auth-api", "internal"]),
    ("/feature_auth.session.v1.SessionService/ValidateBatch", &["auth-api", "internal"]),
    ("/feature_auth.session.v1.SessionService/Touch", &["auth-api", "internal"]),
    ("/feature_auth.session.v1.SessionService/WatchRevocations", &["auth-api", "internal"]),
    ("/feature_auth.session.v1.SessionService/Refresh", &["auth-api"]),
    ("/feature_auth.session.v1.SessionService/RevokeSession", &["auth-api"]),
    ("/feature_auth.session.v1.SessionService/RevokeUserSessions", &["auth-api"]),
    ("/feature_auth.session.v1.SessionService/ElevateSession", &["auth-api"]),
    ("/feature_auth.session.v1.SessionService/UpdateUserClaims", &["auth-api"]),
    ("/feature_auth.session.v1.SessionService/ListSessions", &["auth-api"]),
    ("/feature_auth.session.v1.SessionService/GetPublicKeys", &["auth-api", "internal", "operator"]),
    ("/feature_auth.session.v1.SessionService/RotateKeys", &["auth-api", "operator"]),
    ("/envoy.service.auth.v3.Authorization/Check", &["internal"]),
];

/// The methods that internal services call for each of their own requests.
pub const HOT: &[&str] = &[
    "/feature_auth.session.v1.SessionService/Validate",
    "/feature_auth.session.v1.SessionService/ValidateBatch",
    "/feature_auth.session.v1.SessionService/Touch",
    "/envoy.service.auth.v3.Authorization/Check",
];

/// A batch of a hundred tokens is larger than what other services take.
const MAX_REQUEST_BYTES: usize = 2 * MAX_MESSAGE_BYTES;

/// The methods over `app`; streams end when `stopping` is cancelled.
pub fn server(app: Arc<App>, stopping: CancellationToken) -> SessionServiceServer<SessionRpc> {
    SessionServiceServer::new(SessionRpc { app, stopping }).max_decoding_message_size(MAX_REQUEST_BYTES)
}

pub struct SessionRpc {
    app: Arc<App>,
    stopping: CancellationToken,
}

#[tonic::async_trait]
impl SessionService for SessionRpc {
    async fn create_session(
        &self,
        request: Request<CreateSessionRequest>,
    ) -> Result<Response<CreateSessionResponse>, Status> {
        create_session::create_session(&self.app, request.into_inner()).await.map(Response::new)
    }

    async fn validate(
        &self,
        request: Request<ValidateRequest>,
    ) -> Result<Response<ValidateResponse>, Status> {
        validate::validate(&self.app, request.into_inner()).await.map(Response::new)
    }

    async fn validate_batch(
        &self,
        request: Request<ValidateBatchRequest>,
    ) -> Result<Response<ValidateBatchResponse>, Status> {
        validate_batch::validate_batch(&self.app, request.into_inner()).await.map(Response::new)
    }

    async fn update_user_claims(
        &self,
        request: Request<UpdateUserClaimsRequest>,
    ) -> Result<Response<UpdateUserClaimsResponse>, Status> {
        update_user_claims::update_user_claims(&self.app, request.into_inner()).await.map(Response::new)
    }

    async fn touch(&self, request: Request<TouchRequest>) -> Result<Response<TouchResponse>, Status> {
        touch::touch(&self.app, request.into_inner()).map(Response::new)
    }

    type WatchRevocationsStream = watch_revocations::Watch;

    async fn watch_revocations(
        &self,
        _request: Request<WatchRevocationsRequest>,
    ) -> Result<Response<Self::WatchRevocationsStream>, Status> {
        watch_revocations::watch_revocations(Arc::clone(&self.app), self.stopping.clone()).map(Response::new)
    }

    async fn rotate_keys(
        &self,
        request: Request<RotateKeysRequest>,
    ) -> Result<Response<RotateKeysResponse>, Status> {
        let caller = caller(&request);
        rotate_keys::rotate_keys(&self.app, request.into_inner(), caller).await.map(Response::new)
    }

    async fn refresh(&self, request: Request<RefreshRequest>) -> Result<Response<RefreshResponse>, Status> {
        refresh::refresh(&self.app, request.into_inner()).await.map(Response::new)
    }

    async fn revoke_session(
        &self,
        request: Request<RevokeSessionRequest>,
    ) -> Result<Response<RevokeSessionResponse>, Status> {
        let caller = caller(&request);
        revoke_session::revoke_session(&self.app, request.into_inner(), caller).await.map(Response::new)
    }

    async fn revoke_user_sessions(
        &self,
        request: Request<RevokeUserSessionsRequest>,
    ) -> Result<Response<RevokeUserSessionsResponse>, Status> {
        let caller = caller(&request);
        revoke_user_sessions::revoke_user_sessions(&self.app, request.into_inner(), caller)
            .await
            .map(Response::new)
    }

    async fn elevate_session(
        &self,
        request: Request<ElevateSessionRequest>,
    ) -> Result<Response<ElevateSessionResponse>, Status> {
        elevate_session::elevate_session(&self.app, request.into_inner()).await.map(Response::new)
    }

    async fn list_sessions(
        &self,
        request: Request<ListSessionsRequest>,
    ) -> Result<Response<ListSessionsResponse>, Status> {
        list_sessions::list_sessions(&self.app, request.into_inner()).await.map(Response::new)
    }

    async fn get_public_keys(
        &self,
        _request: Request<GetPublicKeysRequest>,
    ) -> Result<Response<GetPublicKeysResponse>, Status> {
        public_keys::public_keys(&self.app).await.map(Response::new)
    }
}

/// The name of the service that calls.
fn caller<T>(request: &Request<T>) -> String {
    request.extensions().get::<Caller>().cloned().unwrap_or_else(Caller::unverified).name()
}

/// The status of an error; what is our fault is logged with its causes.
#[expect(clippy::needless_pass_by_value, reason = "the shape that `map_err` calls")]
fn refuse(error: impl ServiceError + 'static) -> Status {
    let cause = &error as &(dyn Error + 'static);
    match error.kind() {
        ErrorKind::Internal => error!(error = cause, "A call failed: {error}"),
        ErrorKind::Unavailable => warn!(error = cause, "A call is refused for now: {error}"),
        _ => {}
    }
    service_error::into_status(&error)
}
