//! Makes the pair of tokens that belongs to a session's current generation.

use chrono::{DateTime, TimeDelta, Utc};
use sealing::OpenError;
use service_error::ErrorKind;

use crate::{
    domain::{
        access_token::{self, MintError},
        key_set::SigningKey,
        refresh_token::RefreshKey,
        session::Session,
    },
    state::App,
};

/// An access token and the refresh token that follows it.
pub struct Tokens {
    pub access: String,
    pub access_expires_in: TimeDelta,
    pub refresh: String,
    pub refresh_expires_at: DateTime<Utc>,
}

/// An access token without a refresh token.
pub struct FurtherAccess {
    pub access: String,
    pub access_expires_in: TimeDelta,
}

/// A session with the tokens of its current generation.
pub struct Issued {
    pub session: Session,
    pub tokens: Tokens,
}

/// Why no tokens can be made.
#[derive(Debug, thiserror::Error)]
pub enum IssueError {
    #[error("no signing key is loaded")]
    NoSigningKey,
    #[error("the session's refresh key is not one of ours")]
    RefreshKey(#[from] OpenError),
    #[error("the access token cannot be made")]
    Mint(#[from] MintError),
}

impl IssueError {
    pub fn kind(&self) -> ErrorKind {
        match self {
            Self::NoSigningKey => ErrorKind::Unavailable,
            Self::RefreshKey(_) | Self::Mint(_) => ErrorKind::Internal,
        }
    }

    pub fn reason(&self) -> &'static str {
        match self {
            Self::NoSigningKey => "signing_key_unavailable",
            Self::RefreshKey(_) | Self::Mint(_) => "internal",
        }
    }
}

impl App {
    /// The tokens of the current generation. They are derived, so that the same session gives the same tokens.
    pub fn tokens(
        &self,
        session: &Session,
        epoch: u64,
        refresh_key: &RefreshKey,
        signer: &SigningKey,
        now: DateTime<Utc>,
    ) -> Result<Tokens, IssueError> {
        let claims = session.access_claims(epoch, &self.scope, self.token_ttl);
        Ok(Tokens {
            access: access_token::mint(&claims, signer, &self.scope)?,
            access_expires_in: (claims.exp - now).max(TimeDelta::zero()),
            refresh: refresh_key.issue(session.id, session.line.generation),
            refresh_expires_at: session.idle_expires_at,
        })
    }

    /// An access token beside the one of the current generation. Its id is random and stored nowhere: that it is in use tells nothing about
    /// the refresh token.
    pub fn further_access(
        &self,
        session: &Session,
        epoch: u64,
        signer: &SigningKey,
        now: DateTime<Utc>,
    ) -> Result<FurtherAccess, IssueError> {
        let id = auth_ids::generate(&*self.clock, &mut clock::secure_rng());
        let claims = session.further_access_claims(id, now, epoch, &self.scope, self.token_ttl);
        Ok(FurtherAccess {
            access: access_token::mint(&claims, signer, &self.scope)?,
            access_expires_in: (claims.exp - now).max(TimeDelta::zero()),
        })
    }

    /// Seals a new session's key for its row.
    pub fn seal_refresh_key(&self, key: &RefreshKey, session: auth_ids::SessionId) -> Vec<u8> {
        self.key_ring.seal(key.as_bytes(), &refresh_key_binding(session), &mut clock::secure_rng())
    }

    pub fn open_refresh_key(&self, session: &Session) -> Result<RefreshKey, OpenError> {
        let bytes = self.key_ring.open(&session.sealed_refresh_key, &refresh_key_binding(session.id))?;
        RefreshKey::from_bytes(&bytes).ok_or(OpenError)
    }
}

pub fn refresh_key_binding(session: auth_ids::SessionId) -> Vec<u8> {
    format!("sessions/{session}/refresh_key").into_bytes()
}
