//! A session-service that remembers sessions in memory and whose tokens are plain text.

use std::{
    collections::BTreeMap,
    net::SocketAddr,
    sync::{Arc, Mutex, MutexGuard},
};

use auth_ids::{SessionId, UserId, Uuid};
use auth_proto::session::v1::{
    self as proto, InactiveReason,
    session_service_server::{SessionService, SessionServiceServer},
};
use chrono::{DateTime, TimeDelta, Utc};
use clock::SharedClock;
use prost_types::Timestamp;
use service_error::{ErrorKind, ServiceError};
use service_runtime::Lifecycle;
use tonic::{Request, Response, Status};

/// How long a session may be idle.
pub const REFRESH_TTL: TimeDelta = TimeDelta::days(14);
const TOKEN_TTL: TimeDelta = TimeDelta::minutes(5);

/// The sessions that were made, and what was asked for.
#[derive(Clone)]
pub struct FakeSessions(Arc<Mutex<State>>);

struct State {
    clock: SharedClock,
    sessions: BTreeMap<Uuid, FakeSession>,
    /// What each access token says. Like real ones, they go on saying it.
    access_tokens: BTreeMap<String, proto::Claims>,
    revocations_of_all: Vec<RevocationOfAll>,
    unavailable: bool,
}

/// A call of `RevokeUserSessions` that was answered.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RevocationOfAll {
    pub user_id: UserId,
    pub except: Option<SessionId>,
    pub reason: String,
    pub revoked: u32,
}

#[derive(Clone)]
struct FakeSession {
    user_id: String,
    roles: Vec<String>,
    permissions: Vec<String>,
    amr: Vec<String>,
    aal: u32,
    auth_time: DateTime<Utc>,
    device: proto::Device,
    created_at: DateTime<Utc>,
    last_seen_at: DateTime<Utc>,
    live: bool,
    generation: u32,
}

#[derive(Debug, thiserror::Error)]
#[error("refused")]
struct Refusal {
    kind: ErrorKind,
    reason: &'static str,
    metadata: Vec<(&'static str, String)>,
}

impl ServiceError for Refusal {
    fn kind(&self) -> ErrorKind {
        self.kind
    }

    fn reason(&self) -> &'static str {
        self.reason
    }

    fn metadata(&self) -> Vec<(&'static str, String)> {
        self.metadata.clone()
    }
}

fn refused(reason: &'static str) -> Status {
    let kind = match reason {
        "session_not_found" => ErrorKind::NotFound,
        "database_unavailable" => ErrorKind::Unavailable,
        _ => ErrorKind::Unauthenticated,
    };
    service_error::into_status(&Refusal { kind, reason, metadata: vec![] })
}

impl FakeSessions {
    /// Serves on a free port until `lifecycle` stops.
    pub async fn start(lifecycle: &Lifecycle, clock: SharedClock) -> (Self, SocketAddr) {
        let sessions = Self(Arc::new(Mutex::new(State {
            clock,
            sessions: BTreeMap::new(),
            access_tokens: BTreeMap::new(),
            revocations_of_all: Vec::new(),
            unavailable: false,
        })));
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
        self.state().sessions.values().filter(|session| session.live).count()
    }

    /// From now on every call answers UNAVAILABLE, or none does any more.
    pub fn set_unavailable(&self, unavailable: bool) {
        self.state().unavailable = unavailable;
    }

    /// Each call of `RevokeUserSessions` that was answered, the first first.
    pub fn revocations_of_all(&self) -> Vec<RevocationOfAll> {
        self.state().revocations_of_all.clone()
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap()
    }

    /// The state, for a call that is to be answered.
    fn reached(&self) -> Result<MutexGuard<'_, State>, Status> {
        let state = self.state();
        if state.unavailable { Err(refused("database_unavailable")) } else { Ok(state) }
    }
}

impl State {
    /// The live sessions of a user, the newest first.
    fn live_of(&self, user: &str) -> Vec<(Uuid, FakeSession)> {
        let all = self.sessions.iter().rev();
        all.filter(|(_, session)| session.live && session.user_id == user)
            .map(|(id, session)| (*id, session.clone()))
            .collect()
    }

    /// Makes the access token `token` for the session as it is.
    fn mint(&mut self, id: Uuid, token: String) -> String {
        let session = self.sessions[&id].clone();
        let now = self.clock.now();
        let claims = proto::Claims {
            user_id: session.user_id,
            session_id: id.to_string(),
            token_id: token.clone(),
            issued_at: Some(timestamp(now)),
            expires_at: Some(timestamp(now + TOKEN_TTL)),
            auth_time: Some(timestamp(session.auth_time)),
            amr: session.amr,
            aal: session.aal,
            roles: session.roles,
            permissions: session.permissions,
        };
        self.access_tokens.insert(token.clone(), claims);
        token
    }

    fn tokens(&mut self, id: Uuid) -> proto::Tokens {
        let generation = self.sessions[&id].generation;
        proto::Tokens {
            access_token: self.mint(id, format!("{generation}-access-{id}")),
            access_expires_in: Some(ttl()),
            refresh_token: format!("{generation}-refresh-{id}"),
            refresh_expires_at: Some(timestamp(self.clock.now() + REFRESH_TTL)),
        }
    }

    /// The session that a token names, whether it is live or not.
    fn named_by(&self, token: &str) -> Option<Uuid> {
        let (_, id) = token.rsplit_once("access-").or(token.rsplit_once("refresh-"))?;
        Uuid::parse_str(id).ok().filter(|id| self.sessions.contains_key(id))
    }

    fn described(&self, id: Uuid) -> proto::Session {
        let session = self.sessions[&id].clone();
        proto::Session {
            id: id.to_string(),
            user_id: session.user_id,
            device: Some(session.device),
            created_at: Some(timestamp(session.created_at)),
            last_seen_at: Some(timestamp(session.last_seen_at)),
            expires_at: Some(timestamp(session.created_at + TimeDelta::days(30))),
            amr: session.amr,
            aal: session.aal,
        }
    }

    /// Judges as the real one does, but for the end of tokens.
    fn judge(&self, request: &proto::ValidateRequest) -> Result<proto::Claims, InactiveReason> {
        let claims = self.access_tokens.get(&request.access_token).ok_or(InactiveReason::Invalid)?;
        let id = Uuid::parse_str(&claims.session_id).unwrap();
        if !self.sessions[&id].live {
            return Err(InactiveReason::Revoked);
        }
        if claims.aal < request.min_aal {
            return Err(InactiveReason::InsufficientAal);
        }
        let age = self.clock.now().timestamp() - claims.auth_time.unwrap().seconds;
        if request.max_auth_age.is_some_and(|limit| age > limit.seconds) {
            return Err(InactiveReason::AuthenticationTooOld);
        }
        if request.required_permissions.iter().all(|it| claims.permissions.contains(it)) {
            Ok(claims.clone())
        } else {
            Err(InactiveReason::MissingPermission)
        }
    }
}

impl FakeSession {
    /// The device as it looks now; it keeps its name.
    fn seen(&mut self, device: Option<proto::Device>, now: DateTime<Utc>) {
        self.last_seen_at = now;
        if let Some(device) = device {
            self.device = proto::Device { name: self.device.name.clone(), ..device };
        }
    }
}

fn ttl() -> prost_types::Duration {
    prost_types::Duration { seconds: TOKEN_TTL.num_seconds(), nanos: 0 }
}

fn timestamp(time: DateTime<Utc>) -> Timestamp {
    Timestamp { seconds: time.timestamp(), nanos: 0 }
}

#[tonic::async_trait]
impl SessionService for FakeSessions {
    async fn create_session(
        &self,
        request: Request<proto::CreateSessionRequest>,
    ) -> Result<Response<proto::CreateSessionResponse>, Status> {
        let request = request.into_inner();
        let mut state = self.reached()?;
        let subject = request.subject.unwrap();
        let id = Uuid::now_v7();
        let now = state.clock.now();
        let auth_time = request.auth_time.map(|at| DateTime::from_timestamp(at.seconds, 0).unwrap());
        let session = FakeSession {
            user_id: subject.user_id,
            roles: subject.roles,
            permissions: subject.permissions,
            amr: request.amr,
            aal: request.aal,
            auth_time: auth_time.unwrap_or(now),
            device: request.device.unwrap_or_default(),
            created_at: now,
            last_seen_at: now,
            live: true,
            generation: 1,
        };
        state.sessions.insert(id, session);
        Ok(Response::new(proto::CreateSessionResponse {
            tokens: Some(state.tokens(id)),
            session: Some(state.described(id)),
        }))
    }

    async fn validate(
        &self,
        request: Request<proto::ValidateRequest>,
    ) -> Result<Response<proto::ValidateResponse>, Status> {
        Ok(Response::new(match self.reached()?.judge(request.get_ref()) {
            Ok(claims) => proto::ValidateResponse {
                active: true,
                claims: Some(claims),
                reason: InactiveReason::Unspecified.into(),
            },
            Err(reason) => proto::ValidateResponse { active: false, claims: None, reason: reason.into() },
        }))
    }

    async fn refresh(
        &self,
        request: Request<proto::RefreshRequest>,
    ) -> Result<Response<proto::RefreshResponse>, Status> {
        let proto::RefreshRequest { refresh_token: token, device, .. } = request.into_inner();
        let mut state = self.reached()?;
        let now = state.clock.now();
        let id = state.named_by(&token).ok_or_else(|| refused("refresh_token_invalid"))?;
        let session = state.sessions.get_mut(&id).unwrap();
        if !session.live {
            return Err(refused("session_ended"));
        }
        if !token.starts_with(&format!("{}-", session.generation)) {
            session.live = false;
            return Err(service_error::into_status(&Refusal {
                kind: ErrorKind::Unauthenticated,
                reason: "refresh_token_reused",
                metadata: vec![("user_id", session.user_id.clone()), ("session_id", id.to_string())],
            }));
        }
        session.generation += 1;
        session.seen(device, now);
        Ok(Response::new(proto::RefreshResponse {
            tokens: Some(state.tokens(id)),
            session: Some(state.described(id)),
        }))
    }

    async fn revoke_session(
        &self,
        request: Request<proto::RevokeSessionRequest>,
    ) -> Result<Response<proto::RevokeSessionResponse>, Status> {
        use proto::revoke_session_request::Target;
        let request = request.into_inner();
        let mut state = self.reached()?;
        let (found, reason) = match request.target.unwrap() {
            Target::SessionId(id) => (state.named_by(&format!("access-{id}")), "session_not_found"),
            Target::RefreshToken(token) => (state.named_by(&token), "refresh_token_invalid"),
            Target::AccessToken(token) => (state.named_by(&token), "access_token_invalid"),
        };
        let id = found.ok_or_else(|| refused(reason))?;
        let session = state.sessions.get_mut(&id).unwrap();
        if !request.user_id.is_empty() && request.user_id != session.user_id {
            return Err(refused("session_not_found"));
        }
        let was_live = std::mem::replace(&mut session.live, false);
        Ok(Response::new(proto::RevokeSessionResponse {
            revoked: was_live,
            session_id: id.to_string(),
            user_id: session.user_id.clone(),
        }))
    }

    async fn revoke_user_sessions(
        &self,
        request: Request<proto::RevokeUserSessionsRequest>,
    ) -> Result<Response<proto::RevokeUserSessionsResponse>, Status> {
        let request = request.into_inner();
        let mut state = self.reached()?;
        let mut revoked = 0;
        for (id, _) in state.live_of(&request.user_id) {
            if request.except_session_id != Some(id.to_string()) {
                state.sessions.get_mut(&id).unwrap().live = false;
                revoked += 1;
            }
        }
        state.revocations_of_all.push(RevocationOfAll {
            user_id: request.user_id.parse().unwrap(),
            except: request.except_session_id.map(|id| id.parse().unwrap()),
            reason: request.reason,
            revoked,
        });
        Ok(Response::new(proto::RevokeUserSessionsResponse { revoked }))
    }

    async fn elevate_session(
        &self,
        request: Request<proto::ElevateSessionRequest>,
    ) -> Result<Response<proto::ElevateSessionResponse>, Status> {
        let request = request.into_inner();
        let mut state = self.reached()?;
        let now = state.clock.now();
        let id = Uuid::parse_str(&request.session_id).unwrap();
        let session = state.sessions.get_mut(&id).filter(|session| session.user_id == request.user_id);
        let session = session.ok_or_else(|| refused("session_not_found"))?;
        if !session.live {
            return Err(refused("session_ended"));
        }
        session.auth_time = now;
        session.aal = session.aal.max(request.aal);
        for method in request.amr {
            if !session.amr.contains(&method) {
                session.amr.push(method);
            }
        }
        session.seen(request.device, now);
        Ok(Response::new(proto::ElevateSessionResponse {
            access_token: state.mint(id, format!("{}-access-{id}", Uuid::now_v7())),
            access_expires_in: Some(ttl()),
            session: Some(state.described(id)),
        }))
    }

    async fn list_sessions(
        &self,
        request: Request<proto::ListSessionsRequest>,
    ) -> Result<Response<proto::ListSessionsResponse>, Status> {
        let state = self.reached()?;
        let live = state.live_of(&request.get_ref().user_id);
        let sessions = live.iter().map(|(id, _)| state.described(*id)).collect();
        Ok(Response::new(proto::ListSessionsResponse { sessions }))
    }

    async fn get_public_keys(
        &self,
        _request: Request<proto::GetPublicKeysRequest>,
    ) -> Result<Response<proto::GetPublicKeysResponse>, Status> {
        drop(self.reached()?);
        let key = proto::PublicKey {
            kid: "k4.pid.example".to_owned(),
            paserk: "k4.public.example".to_owned(),
            not_before: Some(prost_types::Timestamp { seconds: 1_900_000_000, nanos: 0 }),
            retire_at: None,
        };
        Ok(Response::new(proto::GetPublicKeysResponse { keys: vec![key] }))
    }
}
