//! session-service, which alone can make and end sessions.

use std::net::IpAddr;

use auth_events::Client;
use auth_ids::{SessionId, UserId};
use auth_proto::session::v1::{
    CreateSessionRequest, Device, ElevateSessionRequest, GetPublicKeysRequest, ListSessionsRequest,
    PublicKey, RefreshRequest, RevokeSessionRequest, RevokeUserSessionsRequest, Session, Subject, Tokens,
    revoke_session_request::Target, session_service_client::SessionServiceClient,
};
use chrono::{DateTime, Utc};
use prost_types::{Duration, Timestamp};
use secrecy::{ExposeSecret, SecretString};
use service_runtime::grpc::Channel;
use tonic::{Code, Status};

/// The client; clones share a connection.
#[derive(Clone)]
pub struct Sessions {
    client: SessionServiceClient<Channel>,
}

/// Why session-service did not do it.
#[derive(Debug, thiserror::Error)]
pub enum SessionsError {
    /// It cannot be reached, is at capacity or too slow.
    #[error("session-service is not available")]
    Unavailable(#[source] Status),
    /// It refused the credential, or knows no such session; the reason is one that the method's contract names.
    #[error("session-service refused: {reason}")]
    Refused {
        /// `google.rpc.ErrorInfo.reason`.
        reason: String,
        /// Whose session it was, where the method's contract says that.
        user_id: Option<UserId>,
        /// Which session it was, where the method's contract says that.
        session_id: Option<SessionId>,
    },
    /// Its answer breaks the contract.
    #[error("session-service answered something unexpected")]
    Unexpected(#[source] anyhow::Error),
}

impl SessionsError {
    /// It was asked about a token, and said nothing.
    #[must_use]
    pub fn no_answer() -> Self {
        Self::Unavailable(Status::unavailable("it did not say whether the access token is good"))
    }

    /// No key is known yet.
    #[must_use]
    pub fn no_keys() -> Self {
        Self::Unavailable(Status::unavailable("no public key is published"))
    }
}

/// What a client gets for a session.
#[derive(Debug)]
pub struct IssuedTokens {
    /// The session.
    pub session_id: SessionId,
    /// PASETO v4.public.
    pub access_token: SecretString,
    /// Seconds until the access token expires.
    pub expires_in: u64,
    /// The refresh token.
    pub refresh_token: SecretString,
    /// When the refresh token expires, unless it is used before.
    pub refresh_expires_at: Option<DateTime<Utc>>,
}

/// A further access token for a session.
#[derive(Debug)]
pub struct IssuedAccess {
    /// PASETO v4.public.
    pub access_token: SecretString,
    /// Seconds until it expires.
    pub expires_in: u64,
}

/// A session to begin.
#[derive(Debug)]
pub struct NewSession {
    /// Whose.
    pub user_id: UserId,
    /// What the user may do, by name.
    pub roles: Vec<String>,
    /// What the roles stand for.
    pub permissions: Vec<String>,
    /// How the user authenticated (RFC 8176).
    pub methods: Vec<String>,
    /// The assurance level reached.
    pub aal: u32,
    /// When the user authenticated; now when absent.
    pub authenticated_at: Option<DateTime<Utc>>,
    /// Whether it may outlive twelve hours.
    pub remember_me: bool,
    /// What the user calls the device.
    pub device_name: Option<String>,
}

/// A live session, as its user sees it in a list.
#[derive(Debug, Clone)]
pub struct DeviceSession {
    /// The session.
    pub id: SessionId,
    /// What the user calls the device.
    pub device_name: Option<String>,
    /// The address from which the device last refreshed or authenticated.
    pub ip: Option<IpAddr>,
    /// What the device said of itself then.
    pub user_agent: Option<String>,
    /// When the session began.
    pub created_at: DateTime<Utc>,
    /// When it was last in use, to the minute.
    pub last_seen_at: DateTime<Utc>,
    /// When it ends even if it is used.
    pub expires_at: DateTime<Utc>,
    /// How the user authenticated (RFC 8176).
    pub methods: Vec<String>,
    /// The assurance level.
    pub aal: u32,
}

/// What names a session to revoke.
pub enum SessionCredential {
    /// A refresh token.
    Refresh(SecretString),
    /// An access token.
    Access(SecretString),
    /// Its id.
    Id(SessionId),
}

impl Sessions {
    /// A client on `channel`.
    #[must_use]
    pub fn new(channel: Channel) -> Self {
        Self { client: SessionServiceClient::new(channel) }
    }

    /// Begins a session.
    pub async fn create(&self, session: NewSession, client: &Client) -> Result<IssuedTokens, SessionsError> {
        let request = CreateSessionRequest {
            subject: Some(Subject {
                user_id: session.user_id.to_string(),
                roles: session.roles,
                permissions: session.permissions,
            }),
            amr: session.methods,
            aal: session.aal,
            auth_time: session.authenticated_at.map(timestamp),
            remember_me: session.remember_me,
            device: Some(device(client, session.device_name)),
            request_id: client.request_id.clone().unwrap_or_default(),
        };
        let answer = self.client.clone().create_session(request).await?.into_inner();
        issued(answer.tokens, answer.session)
    }

    /// Exchanges a refresh token.
    pub async fn refresh(&self, refresh_token: &str, client: &Client) -> Result<IssuedTokens, SessionsError> {
        let request = RefreshRequest {
            refresh_token: refresh_token.to_owned(),
            device: Some(device(client, None)),
            request_id: client.request_id.clone().unwrap_or_default(),
        };
        let answer = self.client.clone().refresh(request).await?.into_inner();
        issued(answer.tokens, answer.session)
    }

    /// Ends a session for the reason with the code `reason`; nothing happens when the credential names none.
    pub async fn revoke(
        &self,
        credential: &SessionCredential,
        reason: &str,
        client: &Client,
    ) -> Result<(), SessionsError> {
        let target = match credential {
            SessionCredential::Refresh(token) => Target::RefreshToken(token.expose_secret().to_owned()),
            SessionCredential::Access(token) => Target::AccessToken(token.expose_secret().to_owned()),
            SessionCredential::Id(id) => Target::SessionId(id.to_string()),
        };
        let request = RevokeSessionRequest {
            target: Some(target),
            user_id: String::new(),
            reason: reason.to_owned(),
            request_id: client.request_id.clone().unwrap_or_default(),
            device: Some(device(client, None)),
        };
        match self.client.clone().revoke_session(request).await.map_err(SessionsError::from) {
            Ok(_) | Err(SessionsError::Refused { .. }) => Ok(()),
            Err(error) => Err(error),
        }
    }

    /// Ends the session `session` of `user` for the reason with the code `reason`; whether it was live until now. One that does not exist or is
    /// somebody else's is [`SessionsError::Refused`] as `session_not_found`.
    pub async fn revoke_own(
        &self,
        session: SessionId,
        user: UserId,
        reason: &str,
        client: &Client,
    ) -> Result<bool, SessionsError> {
        let request = RevokeSessionRequest {
            target: Some(Target::SessionId(session.to_string())),
            user_id: user.to_string(),
            reason: reason.to_owned(),
            request_id: client.request_id.clone().unwrap_or_default(),
            device: Some(device(client, None)),
        };
        Ok(self.client.clone().revoke_session(request).await?.into_inner().revoked)
    }

    /// Ends all sessions of `user`, but `except`, for the reason with the code `reason`; how many were live until now. The user did it if the
    /// reason is `logout_all`; otherwise we did.
    pub async fn revoke_all(
        &self,
        user: UserId,
        except: Option<SessionId>,
        reason: &str,
        client: &Client,
    ) -> Result<u32, SessionsError> {
        let request = RevokeUserSessionsRequest {
            user_id: user.to_string(),
            except_session_id: except.map(|session| session.to_string()),
            reason: reason.to_owned(),
            request_id: client.request_id.clone().unwrap_or_default(),
            device: Some(device(client, None)),
        };
        Ok(self.client.clone().revoke_user_sessions(request).await?.into_inner().revoked)
    }

    /// Says that the user of a live session has just authenticated again, by `methods` and to the level `aal`. The access token that comes back
    /// says so; the session's refresh token stays good. A session that is not the user's is [`SessionsError::Refused`] as `session_not_found`, one
    /// that has ended as `session_ended`.
    pub async fn elevate(
        &self,
        session: SessionId,
        user: UserId,
        methods: &[String],
        aal: u32,
        client: &Client,
    ) -> Result<IssuedAccess, SessionsError> {
        let request = ElevateSessionRequest {
            session_id: session.to_string(),
            user_id: user.to_string(),
            amr: methods.to_vec(),
            aal,
            device: Some(device(client, None)),
        };
        let answer = self.client.clone().elevate_session(request).await?.into_inner();
        Ok(IssuedAccess {
            access_token: answer.access_token.into(),
            expires_in: seconds(answer.access_expires_in),
        })
    }

    /// The live sessions of `user`, the newest first.
    pub async fn list(&self, user: UserId) -> Result<Vec<DeviceSession>, SessionsError> {
        let request = ListSessionsRequest { user_id: user.to_string() };
        let answer = self.client.clone().list_sessions(request).await?.into_inner();
        answer.sessions.into_iter().map(device_session).collect()
    }

    /// The public keys that verify access tokens.
    pub async fn public_keys(&self) -> Result<Vec<PublicKey>, SessionsError> {
        Ok(self.client.clone().get_public_keys(GetPublicKeysRequest {}).await?.into_inner().keys)
    }
}

fn device(client: &Client, name: Option<String>) -> Device {
    Device {
        name: name.unwrap_or_default(),
        ip: client.ip.map(|ip| ip.to_string()).unwrap_or_default(),
        user_agent: client.user_agent.clone().unwrap_or_default(),
    }
}

fn issued(
    tokens: Option<Tokens>,
    session: Option<auth_proto::session::v1::Session>,
) -> Result<IssuedTokens, SessionsError> {
    let (Some(tokens), Some(session)) = (tokens, session) else {
        return Err(SessionsError::Unexpected(anyhow::anyhow!("tokens or session are missing")));
    };
    Ok(IssuedTokens {
        session_id: id(&session.id)?,
        access_token: tokens.access_token.into(),
        expires_in: seconds(tokens.access_expires_in),
        refresh_token: tokens.refresh_token.into(),
        refresh_expires_at: tokens.refresh_expires_at.and_then(|at| DateTime::from_timestamp(at.seconds, 0)),
    })
}

fn device_session(session: Session) -> Result<DeviceSession, SessionsError> {
    let Device { name, ip, user_agent } = session.device.unwrap_or_default();
    let present = |text: String| Some(text).filter(|text| !text.is_empty());
    Ok(DeviceSession {
        id: id(&session.id)?,
        device_name: present(name),
        ip: ip.parse().ok(),
        user_agent: present(user_agent),
        created_at: time(session.created_at)?,
        last_seen_at: time(session.last_seen_at)?,
        expires_at: time(session.expires_at)?,
        methods: session.amr,
        aal: session.aal,
    })
}

fn seconds(duration: Option<Duration>) -> u64 {
    duration.and_then(|duration| u64::try_from(duration.seconds).ok()).unwrap_or(0)
}

fn time(time: Option<Timestamp>) -> Result<DateTime<Utc>, SessionsError> {
    time.and_then(|time| DateTime::from_timestamp(time.seconds, u32::try_from(time.nanos).ok()?))
        .ok_or_else(|| SessionsError::Unexpected(anyhow::anyhow!("a time is missing")))
}

fn timestamp(time: DateTime<Utc>) -> Timestamp {
    let nanos = i32::try_from(time.timestamp_subsec_nanos()).unwrap_or_default();
    Timestamp { seconds: time.timestamp(), nanos }
}

fn id<K: auth_ids::TypedUuidKind>(text: &str) -> Result<auth_ids::TypedUuid<K>, SessionsError> {
    text.parse().map_err(|error| SessionsError::Unexpected(anyhow::Error::new(error)))
}

impl From<Status> for SessionsError {
    fn from(status: Status) -> Self {
        match (status.code(), service_error::error_reason(&status)) {
            // A timeout of tonic's own arrives as `Cancelled`.
            (Code::Unavailable | Code::DeadlineExceeded | Code::Cancelled | Code::ResourceExhausted, _) => {
                Self::Unavailable(status)
            }
            (Code::Unauthenticated | Code::NotFound, Some(reason)) => {
                let metadata = service_error::error_metadata(&status);
                Self::Refused {
                    reason,
                    user_id: metadata.get("user_id").and_then(|id| id.parse().ok()),
                    session_id: metadata.get("session_id").and_then(|id| id.parse().ok()),
                }
            }
            _ => Self::Unexpected(status.into()),
        }
    }
}
