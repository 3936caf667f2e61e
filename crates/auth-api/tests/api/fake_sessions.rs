//! A session-service that remembers sessions in memory and whose tokens are plain text.

use std::{
    collections::BTreeMap,
    net::SocketAddr,
    sync::{Arc, Mutex},
};

use auth_ids::Uuid;
use auth_proto::session::v1::{
    self as proto, InactiveReason,
    session_service_server::{SessionService, SessionServiceServer},
};
use service_error::{ErrorKind, ServiceError};
use service_runtime::Lifecycle;
use tonic::{Request, Response, Status};

/// The sessions that were made.
#[derive(Clone, Default)]
pub struct FakeSessions(Arc<Mutex<BTreeMap<Uuid, FakeSession>>>);

#[derive(Clone)]
struct FakeSession {
    user_id: String,
    roles: Vec<String>,
    aal: u32,
    live: bool,
    generation: u32,
}

#[derive(Debug, thiserror::Error)]
#[error("refused")]
struct Refusal(&'static str);

impl ServiceError for Refusal {
    fn kind(&self) -> ErrorKind {
        ErrorKind::Unauthenticated
    }
    fn reason(&self) -> &'static str {
        self.0
    }
}

fn refused(reason: &'static str) -> Status {
    service_error::into_status(&Refusal(reason))
}

impl FakeSessions {
    /// Serves on a free port until `lifecycle` stops.
    pub async fn start(lifecycle: &Lifecycle) -> (Self, SocketAddr) {
        let sessions = Self::default();
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let server =
            tonic::transport::Server::builder().add_service(SessionServiceServer::new(sessions.clone()));
        let incoming = tonic::transport::server::TcpIncoming::from(listener);
        let stopping = lifecycle.stopping();
        lifecycle.spawn("fake sessions", async move {
            server.serve_with_incoming_shutdown(incoming, stopping.cancelled_owned()).await.unwrap();
        });
        (sessions, address)
    }

    /// How many sessions are live.
    pub fn live(&self) -> usize {
        self.0.lock().unwrap().values().filter(|session| session.live).count()
    }

    fn tokens(id: Uuid, generation: u32) -> proto::Tokens {
        proto::Tokens {
            access_token: format!("access-{id}"),
            access_expires_in: Some(prost_types::Duration { seconds: 300, nanos: 0 }),
            refresh_token: format!("{generation}-refresh-{id}"),
            refresh_expires_at: None,
        }
    }

    fn by_token(&self, token: &str) -> Option<(Uuid, FakeSession)> {
        let id = Uuid::parse_str(token.rsplit_once("access-").or(token.rsplit_once("refresh-"))?.1).ok()?;
        Some((id, self.0.lock().unwrap().get(&id)?.clone()))
    }
}

fn described(id: Uuid, session: &FakeSession) -> proto::Session {
    proto::Session {
        id: id.to_string(),
        user_id: session.user_id.clone(),
        aal: session.aal,
        ..proto::Session::default()
    }
}

#[tonic::async_trait]
impl SessionService for FakeSessions {
    async fn create_session(
        &self,
        request: Request<proto::CreateSessionRequest>,
    ) -> Result<Response<proto::CreateSessionResponse>, Status> {
        let request = request.into_inner();
        let subject = request.subject.unwrap();
        let id = Uuid::now_v7();
        let session = FakeSession {
            user_id: subject.user_id,
            roles: subject.roles,
            aal: request.aal,
            live: true,
            generation: 1,
        };
        self.0.lock().unwrap().insert(id, session.clone());
        Ok(Response::new(proto::CreateSessionResponse {
            tokens: Some(Self::tokens(id, 1)),
            session: Some(described(id, &session)),
        }))
    }

    async fn validate(
        &self,
        request: Request<proto::ValidateRequest>,
    ) -> Result<Response<proto::ValidateResponse>, Status> {
        let answer = match self.by_token(&request.into_inner().access_token) {
            Some((id, session)) if session.live => proto::ValidateResponse {
                active: true,
                claims: Some(proto::Claims {
                    user_id: session.user_id,
                    session_id: id.to_string(),
                    auth_time: Some(prost_types::Timestamp::default()),
                    aal: session.aal,
                    roles: session.roles,
                    ..proto::Claims::default()
                }),
                reason: InactiveReason::Unspecified.into(),
            },
            Some(_) => proto::ValidateResponse {
                active: false,
                claims: None,
                reason: InactiveReason::Revoked.into(),
            },
            None => proto::ValidateResponse {
                active: false,
                claims: None,
                reason: InactiveReason::Invalid.into(),
            },
        };
        Ok(Response::new(answer))
    }

    async fn refresh(
        &self,
        request: Request<proto::RefreshRequest>,
    ) -> Result<Response<proto::RefreshResponse>, Status> {
        let token = request.into_inner().refresh_token;
        let (id, mut session) = self.by_token(&token).ok_or_else(|| refused("refresh_token_invalid"))?;
        if !session.live {
            return Err(refused("session_ended"));
        }
        if !token.starts_with(&format!("{}-", session.generation)) {
            self.0.lock().unwrap().get_mut(&id).unwrap().live = false;
            return Err(refused("refresh_token_reused"));
        }
        session.generation += 1;
        self.0.lock().unwrap().insert(id, session.clone());
        Ok(Response::new(proto::RefreshResponse {
            tokens: Some(Self::tokens(id, session.generation)),
            session: Some(described(id, &session)),
        }))
    }

    async fn revoke_session(
        &self,
        request: Request<proto::RevokeSessionRequest>,
    ) -> Result<Response<proto::RevokeSessionResponse>, Status> {
        use proto::revoke_session_request::Target;
        let found = match request.into_inner().target.unwrap() {
            Target::SessionId(id) => self.by_token(&format!("access-{id}")),
            Target::RefreshToken(token) | Target::AccessToken(token) => self.by_token(&token),
        };
        let (id, session) = found.ok_or_else(|| refused("refresh_token_invalid"))?;
        self.0.lock().unwrap().get_mut(&id).unwrap().live = false;
        Ok(Response::new(proto::RevokeSessionResponse {
            revoked: session.live,
            session_id: id.to_string(),
            user_id: session.user_id,
        }))
    }

    async fn list_sessions(
        &self,
        _request: Request<proto::ListSessionsRequest>,
    ) -> Result<Response<proto::ListSessionsResponse>, Status> {
        Ok(Response::new(proto::ListSessionsResponse::default()))
    }

    async fn get_public_keys(
        &self,
        _request: Request<proto::GetPublicKeysRequest>,
    ) -> Result<Response<proto::GetPublicKeysResponse>, Status> {
        let key = proto::PublicKey {
            kid: "k4.pid.example".to_owned(),
            paserk: "k4.public.example".to_owned(),
            not_before: Some(prost_types::Timestamp { seconds: 1_900_000_000, nanos: 0 }),
            retire_at: None,
        };
        Ok(Response::new(proto::GetPublicKeysResponse { keys: vec![key] }))
    }
}
