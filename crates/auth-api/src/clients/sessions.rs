//! session-service, which alone can make and end sessions.

use auth_events::Client;
use auth_ids::{SessionId, UserId};
use auth_proto::session::v1::{
    CreateSessionRequest, Device, GetPublicKeysRequest, PublicKey, RefreshRequest, RevokeSessionRequest,
    Subject, Tokens, ValidateRequest, ValidateResponse, revoke_session_request::Target,
    session_service_client::SessionServiceClient,
};
use chrono::{DateTime, Utc};
use secrecy::SecretString;
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
    },
    /// Its answer breaks the contract.
    #[error("session-service answered something unexpected")]
    Unexpected(#[source] anyhow::Error),
}

impl SessionsError {
    /// No key signs yet.
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
    /// Whether it may outlive twelve hours.
    pub remember_me: bool,
    /// What the user calls the device.
    pub device_name: Option<String>,
}

/// Who a good access token speaks for.
#[derive(Debug, Clone)]
pub struct Claims {
    /// The user.
    pub user_id: UserId,
    /// The session.
    pub session_id: SessionId,
    /// The assurance level.
    pub aal: u32,
    /// When the user authenticated.
    pub authenticated_at: DateTime<Utc>,
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
            auth_time: None,
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

    /// Who `access_token` speaks for right now; `None` when it is not good.
    pub async fn validate(&self, access_token: &str) -> Result<Option<Claims>, SessionsError> {
        let request = ValidateRequest { access_token: access_token.to_owned(), ..ValidateRequest::default() };
        let answer = self.client.clone().validate(request).await?.into_inner();
        if answer.active { claims(answer).map(Some) } else { Ok(None) }
    }

    /// Ends a session for the reason with the code `reason`; nothing happens when the credential names none.
    pub async fn revoke(
        &self,
        credential: &SessionCredential,
        reason: &str,
        client: &Client,
    ) -> Result<(), SessionsError> {
        use secrecy::ExposeSecret;
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
    let seconds = tokens.access_expires_in.map_or(0, |duration| duration.seconds);
    Ok(IssuedTokens {
        session_id: id(&session.id)?,
        access_token: tokens.access_token.into(),
        expires_in: u64::try_from(seconds).unwrap_or(0),
        refresh_token: tokens.refresh_token.into(),
    })
}

fn claims(answer: ValidateResponse) -> Result<Claims, SessionsError> {
    let missing = || SessionsError::Unexpected(anyhow::anyhow!("claims are missing"));
    let claims = answer.claims.ok_or_else(missing)?;
    let authenticated_at = claims
        .auth_time
        .and_then(|time| DateTime::from_timestamp(time.seconds, u32::try_from(time.nanos).unwrap_or(0)))
        .ok_or_else(missing)?;
    Ok(Claims {
        user_id: id(&claims.user_id)?,
        session_id: id(&claims.session_id)?,
        aal: claims.aal,
        authenticated_at,
    })
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
            (Code::Unauthenticated | Code::NotFound, Some(reason)) => Self::Refused { reason },
            _ => Self::Unexpected(status.into()),
        }
    }
}
