use std::{fmt, sync::Arc, time::Duration};

use access_tokens::{AccessClaims, SeenToken};
use auth_ids::{AccessTokenId, SessionId, UserId};
use chrono::{DateTime, TimeDelta, Utc};

use crate::Forbidden;

/// Whose request it is, as a good access token says. Clones cost nothing. It speaks of the moment at which it was verified: use it for one request.
#[derive(Clone)]
pub struct Session {
    token: Token,
    verified_at: DateTime<Utc>,
}

/// Who vouched for the claims.
#[derive(Clone)]
enum Token {
    /// The signature.
    Seen(Arc<SeenToken>),
    /// Session-service, for a token that we could not judge.
    Told(Arc<AccessClaims>),
}

impl Session {
    pub(crate) fn seen(token: Arc<SeenToken>, verified_at: DateTime<Utc>) -> Self {
        Self { token: Token::Seen(token), verified_at }
    }

    pub(crate) fn told(claims: AccessClaims, verified_at: DateTime<Utc>) -> Self {
        Self { token: Token::Told(Arc::new(claims)), verified_at }
    }

    fn claims(&self) -> &AccessClaims {
        match &self.token {
            Token::Seen(seen) => &seen.claims,
            Token::Told(claims) => claims,
        }
    }

    /// The user.
    #[must_use]
    pub fn user_id(&self) -> UserId {
        self.claims().sub
    }

    /// The session, which outlives its access tokens.
    #[must_use]
    pub fn session_id(&self) -> SessionId {
        self.claims().sid
    }

    /// The access token.
    #[must_use]
    pub fn token_id(&self) -> AccessTokenId {
        self.claims().jti
    }

    /// What the user may do, by name.
    #[must_use]
    pub fn roles(&self) -> &[String] {
        &self.claims().roles
    }

    /// What the roles stand for.
    #[must_use]
    pub fn permissions(&self) -> &[String] {
        &self.claims().permissions
    }

    /// How the user authenticated (RFC 8176).
    #[must_use]
    pub fn amr(&self) -> &[String] {
        &self.claims().amr
    }

    /// The authenticator assurance level: 2 with a second factor, otherwise 1.
    #[must_use]
    pub fn aal(&self) -> u8 {
        self.claims().aal
    }

    /// When the user authenticated.
    #[must_use]
    pub fn authenticated_at(&self) -> DateTime<Utc> {
        self.claims().auth_time
    }

    /// When the access token ends.
    #[must_use]
    pub fn expires_at(&self) -> DateTime<Utc> {
        self.claims().exp
    }

    /// The user's epoch in which the token was minted.
    #[must_use]
    pub fn epoch(&self) -> u64 {
        self.claims().epoch
    }

    /// Whether the user has the permission, by its exact name.
    pub fn require_permission(&self, permission: &str) -> Result<(), Forbidden> {
        let granted = self.permissions().iter().any(|name| name == permission);
        if granted { Ok(()) } else { Err(Forbidden::MissingPermission { permission: permission.to_owned() }) }
    }

    /// Whether the user proved a second factor.
    pub fn require_aal2(&self) -> Result<(), Forbidden> {
        if self.aal() >= 2 { Ok(()) } else { Err(Forbidden::InsufficientAal) }
    }

    /// Whether the user authenticated at most `max_age` ago.
    pub fn require_recent(&self, max_age: Duration) -> Result<(), Forbidden> {
        let limit = TimeDelta::from_std(max_age).unwrap_or(TimeDelta::MAX);
        let recent = self.verified_at - self.authenticated_at() <= limit;
        if recent { Ok(()) } else { Err(Forbidden::AuthenticationTooOld { max_age }) }
    }
}

impl fmt::Debug for Session {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Session")
            .field("user_id", &self.user_id())
            .field("session_id", &self.session_id())
            .field("aal", &self.aal())
            .field("roles", &self.roles())
            .field("expires_at", &self.expires_at())
            .finish_non_exhaustive()
    }
}
