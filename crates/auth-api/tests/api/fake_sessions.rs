//! A session-service that remembers sessions in memory and whose refresh tokens are plain text.

use std::{
    collections::BTreeMap,
    net::SocketAddr,
    pin::Pin,
    sync::{Arc, Mutex, MutexGuard},
    time::Duration,
};

use access_tokens::AccessClaims;
use auth_ids::{GenericUuid, SessionId, UserId, Uuid};
use auth_proto::session::v1::{
    self as proto, InactiveReason,
    session_service_server::{SessionService, SessionServiceServer},
};
use chrono::{DateTime, TimeDelta, Utc};
use clock::SharedClock;
use futures::{Stream, StreamExt, stream};
use service_error::{ErrorKind, ServiceError};
use service_runtime::Lifecycle;
use tokio::sync::broadcast;
use tonic::{Request, Response, Status};

use crate::fake_tokens::{TokenKey, claims, timestamp, told};

/// How long a session may be idle.
pub const REFRESH_TTL: TimeDelta = TimeDelta::days(14);
const TOKEN_TTL: TimeDelta = TimeDelta::minutes(5);
const HEARTBEAT: Duration = Duration::from_millis(200);

type Event = proto::watch_revocations_response::Event;
type Watch = Pin<Box<dyn Stream<Item = Result<proto::WatchRevocationsResponse, Status>> + Send>>;

/// The sessions that were made, and what was asked for.
#[derive(Clone)]
pub struct FakeSessions(Arc<Mutex<State>>);

struct State {
    clock: SharedClock,
    sessions: BTreeMap<Uuid, FakeSession>,
    /// What each access token says. Like real ones, they go on saying it.
    access_tokens: BTreeMap<String, AccessClaims>,
    key: TokenKey,
    /// What watchers are told; the end of their stream where there is nothing.
    told: broadcast::Sender<Option<proto::Revocation>>,
    revocations: Vec<proto::Revocation>,
    /// How often `Validate` was called.
    validations: usize,
    revocations_of_all: Vec<RevocationOfAll>,
    unavailable: bool,
    next_answer_lost: bool,
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
    /// Whether it ended because a spent refresh token came back.
    stolen: bool,
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
    refused_saying(reason, Vec::new())
}

fn refused_saying(reason: &'static str, metadata: Vec<(&'static str, String)>) -> Status {
    let kind = match reason {
        "session_not_found" => ErrorKind::NotFound,
        "database_unavailable" => ErrorKind::Unavailable,
        _ => ErrorKind::Unauthenticated,
    };
    service_error::into_status(&Refusal { kind, reason, metadata })
}

impl FakeSessions {
    /// Serves on a free port until `lifecycle` stops.
    pub async fn start(lifecycle: &Lifecycle, clock: SharedClock) -> (Self, SocketAddr) {
        let sessions = Self(Arc::new(Mutex::new(State {
            clock,
            sessions: BTreeMap::new(),
            access_tokens: BTreeMap::new(),
            key: TokenKey::generate(),
            told: broadcast::channel(1024).0,
            revocations: Vec::new(),
            validations: 0,
            revocations_of_all: Vec::new(),
            unavailable: false,
            next_answer_lost: false,
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

    /// The next reuse of a refresh token ends the session, and nobody hears why.
    pub fn lose_next_answer(&self) {
        self.state().next_answer_lost = true;
    }

    /// From now on every call answers UNAVAILABLE, and nobody is told of revocations, or all is well again.
    pub fn set_unavailable(&self, unavailable: bool) {
        let mut state = self.state();
        state.unavailable = unavailable;
        if unavailable {
            // Fails where nobody watches.
            let _ = state.told.send(None);
        }
    }

    /// Ends every session without telling any watcher, as if that took its time.
    pub fn end_all_quietly(&self) {
        for session in self.state().sessions.values_mut() {
            session.live = false;
        }
    }

    /// Another access token of the session of `token`, as a refresh would give it.
    pub fn renewed(&self, token: &str) -> String {
        let mut state = self.state();
        let id = state.access_tokens[token].sid.into_untyped_uuid();
        state.mint(id)
    }

    /// How often somebody asked whether a token is good.
    pub fn validations(&self) -> usize {
        self.state().validations
    }

    /// A token that says the same as `token`, changed by `change` and signed by us; no session knows of it.
    pub fn sign_changed(&self, token: &str, change: impl FnOnce(&mut AccessClaims)) -> String {
        let state = self.state();
        let mut claims = state.access_tokens[token].clone();
        change(&mut claims);
        state.key.sign(&claims)
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

    /// Makes an access token for the session as it is.
    fn mint(&mut self, id: Uuid) -> String {
        let session = self.sessions[&id].clone();
        let claims = AccessClaims {
            sub: session.user_id.parse().unwrap(),
            sid: SessionId::from_untyped_uuid(id),
            amr: session.amr,
            aal: u8::try_from(session.aal).unwrap(),
            auth_time: DateTime::from_timestamp(session.auth_time.timestamp(), 0).unwrap(),
            roles: session.roles,
            permissions: session.permissions,
            ..claims(self.clock.now(), TOKEN_TTL)
        };
        let token = self.key.sign(&claims);
        self.access_tokens.insert(token.clone(), claims);
        token
    }

    /// Ends a session and tells everybody; whether it was live.
    fn end(&mut self, id: Uuid) -> bool {
        let was_live = std::mem::replace(&mut self.sessions.get_mut(&id).unwrap().live, false);
        if was_live {
            let now = self.clock.now();
            let revocation = proto::Revocation {
                target: Some(proto::revocation::Target::SessionId(id.as_bytes().to_vec())),
                revoked_at: Some(timestamp(now)),
                forget_at: Some(timestamp(now + TOKEN_TTL)),
            };
            self.revocations.push(revocation.clone());
            let _ = self.told.send(Some(revocation));
        }
        was_live
    }

    fn heartbeat(&self) -> Event {
        let covers_since = Some(timestamp(self.clock.now() - TimeDelta::hours(1)));
        Event::Heartbeat(proto::Heartbeat { at: Some(timestamp(self.clock.now())), covers_since })
    }

    fn tokens(&mut self, id: Uuid) -> proto::Tokens {
        let generation = self.sessions[&id].generation;
        proto::Tokens {
            access_token: self.mint(id),
            access_expires_in: Some(ttl()),
            refresh_token: format!("{generation}-refresh-{id}"),
            refresh_expires_at: Some(timestamp(self.clock.now() + REFRESH_TTL)),
        }
    }

    /// The session that a token names, whether it is live or not.
    fn named_by(&self, token: &str) -> Option<Uuid> {
        if let Some(claims) = self.access_tokens.get(token) {
            return Some(claims.sid.into_untyped_uuid());
        }
        Uuid::parse_str(token.rsplit_once("refresh-")?.1).ok().filter(|id| self.sessions.contains_key(id))
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
        if !self.sessions[claims.sid.as_untyped_uuid()].live {
            return Err(InactiveReason::Revoked);
        }
        if u32::from(claims.aal) < request.min_aal {
            return Err(InactiveReason::InsufficientAal);
        }
        let age = (self.clock.now() - claims.auth_time).num_seconds();
        if request.max_auth_age.is_some_and(|limit| age > limit.seconds) {
            return Err(InactiveReason::AuthenticationTooOld);
        }
        if request.required_permissions.iter().all(|it| claims.permissions.contains(it)) {
            Ok(told(claims))
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

fn answer(judgement: Result<proto::Claims, InactiveReason>) -> proto::ValidateResponse {
    match judgement {
        Ok(claims) => proto::ValidateResponse {
            active: true,
            claims: Some(claims),
            reason: InactiveReason::Unspecified.into(),
        },
        Err(reason) => proto::ValidateResponse { active: false, claims: None, reason: reason.into() },
    }
}

fn message(event: Event) -> proto::WatchRevocationsResponse {
    proto::WatchRevocationsResponse { event: Some(event) }
}

#[tonic::async_trait]
impl SessionService for FakeSessions {
    type WatchRevocationsStream = Watch;

    async fn watch_revocations(
        &self,
        _request: Request<proto::WatchRevocationsRequest>,
    ) -> Result<Response<Watch>, Status> {
        let state = self.reached()?;
        let now = state.clock.now();
        let snapshot = proto::RevocationSnapshot {
            revocations: state.revocations.clone(),
            covers_since: Some(timestamp(now - TimeDelta::hours(1))),
            complete: true,
        };
        let first = [
            Event::Keys(proto::GetPublicKeysResponse { keys: vec![state.key.public()] }),
            Event::Snapshot(snapshot),
            state.heartbeat(),
        ];
        let (told, sessions) = (state.told.subscribe(), self.clone());
        let later = stream::unfold((told, sessions), async |(mut told, sessions)| {
            let next = match tokio::time::timeout(HEARTBEAT, told.recv()).await {
                Err(_) => sessions.state().heartbeat(),
                Ok(Ok(Some(revocation))) => {
                    Event::Revoked(proto::RevocationBatch { revocations: vec![revocation] })
                }
                Ok(_) => return None,
            };
            Some((message(next), (told, sessions)))
        });
        Ok(Response::new(Box::pin(stream::iter(first.map(message)).chain(later).map(Ok))))
    }

    async fn touch(
        &self,
        _request: Request<proto::TouchRequest>,
    ) -> Result<Response<proto::TouchResponse>, Status> {
        drop(self.reached()?);
        Ok(Response::new(proto::TouchResponse {}))
    }

    async fn validate_batch(
        &self,
        _request: Request<proto::ValidateBatchRequest>,
    ) -> Result<Response<proto::ValidateBatchResponse>, Status> {
        Err(Status::unimplemented("nobody asks for it"))
    }

    async fn update_user_claims(
        &self,
        _request: Request<proto::UpdateUserClaimsRequest>,
    ) -> Result<Response<proto::UpdateUserClaimsResponse>, Status> {
        Err(Status::unimplemented("nobody asks for it"))
    }

    async fn rotate_keys(
        &self,
        _request: Request<proto::RotateKeysRequest>,
    ) -> Result<Response<proto::RotateKeysResponse>, Status> {
        Err(Status::unimplemented("nobody asks for it"))
    }

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
            stolen: false,
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
        let mut state = self.reached()?;
        state.validations += 1;
        Ok(Response::new(answer(state.judge(request.get_ref()))))
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
        let owner = vec![("user_id", session.user_id.clone()), ("session_id", id.to_string())];
        if !session.live {
            let metadata = if session.stolen { owner } else { Vec::new() };
            return Err(refused_saying("session_ended", metadata));
        }
        if !token.starts_with(&format!("{}-", session.generation)) {
            session.stolen = true;
            state.end(id);
            let is_lost = std::mem::take(&mut state.next_answer_lost);
            let reason = if is_lost { "database_unavailable" } else { "refresh_token_reused" };
            return Err(refused_saying(reason, owner));
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
            Target::SessionId(id) => (state.named_by(&format!("refresh-{id}")), "session_not_found"),
            Target::RefreshToken(token) => (state.named_by(&token), "refresh_token_invalid"),
            Target::AccessToken(token) => (state.named_by(&token), "access_token_invalid"),
        };
        let id = found.ok_or_else(|| refused(reason))?;
        let user_id = state.sessions[&id].user_id.clone();
        if !request.user_id.is_empty() && request.user_id != user_id {
            return Err(refused("session_not_found"));
        }
        let revoked = state.end(id);
        Ok(Response::new(proto::RevokeSessionResponse { revoked, session_id: id.to_string(), user_id }))
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
                state.end(id);
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
            access_token: state.mint(id),
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
        Ok(Response::new(proto::GetPublicKeysResponse { keys: vec![self.reached()?.key.public()] }))
    }
}
