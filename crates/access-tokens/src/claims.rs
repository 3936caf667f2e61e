use auth_ids::{AccessTokenId, SessionId, UserId};
use chrono::{DateTime, TimeDelta, Utc};
use serde::{Deserialize, Serialize};

use crate::{TokenRejection, TokenScope};

/// The `typ` of access tokens.
pub const ACCESS: &str = "access";
/// No access token lives longer, whatever is configured.
pub const MAX_TTL: TimeDelta = TimeDelta::minutes(15);
/// How far the clock of the replica that minted may be ahead of ours. The end of a token knows no leeway.
const LEEWAY: TimeDelta = TimeDelta::seconds(30);

/// What an access token says. The claims are in the order in which they are written. Exactly these: who adds one lets every release read it before any mints it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct AccessClaims {
    /// Who issued it.
    pub iss: String,
    /// The user.
    pub sub: UserId,
    /// For whom it is.
    pub aud: String,
    /// When it was minted.
    #[serde(with = "whole_seconds")]
    pub iat: DateTime<Utc>,
    /// Since when it is good.
    #[serde(with = "whole_seconds")]
    pub nbf: DateTime<Utc>,
    /// When it ends.
    #[serde(with = "whole_seconds")]
    pub exp: DateTime<Utc>,
    /// The token.
    pub jti: AccessTokenId,
    /// The session.
    pub sid: SessionId,
    /// [`ACCESS`].
    pub typ: String,
    /// How the user authenticated (RFC 8176).
    pub amr: Vec<String>,
    /// The authenticator assurance level, 1 or 2.
    pub aal: u8,
    /// When the user authenticated.
    #[serde(with = "whole_seconds")]
    pub auth_time: DateTime<Utc>,
    /// What the user may do, by name.
    pub roles: Vec<String>,
    /// What the roles stand for.
    pub permissions: Vec<String>,
    /// The user's epoch in which it was minted.
    pub epoch: u64,
}

impl AccessClaims {
    /// Reads the payload of a token whose signature is good.
    pub fn parse(payload: &str) -> Result<Self, TokenRejection> {
        // serde would also accept the fields as an array; it refuses duplicate fields itself.
        if !payload.starts_with('{') {
            return Err(TokenRejection::WrongClaims);
        }
        serde_json::from_str(payload).map_err(|_| TokenRejection::WrongClaims)
    }

    /// Whether these are claims that `scope` makes, at any time.
    pub fn check_scope(&self, scope: &TokenScope) -> Result<(), TokenRejection> {
        let ours = self.iss == scope.issuer && self.aud == scope.audience && self.typ == ACCESS;
        let sound = matches!(self.aal, 1 | 2) && self.exp >= self.iat && self.exp - self.iat <= MAX_TTL;
        if ours && sound { Ok(()) } else { Err(TokenRejection::WrongClaims) }
    }

    /// Whether the token is good at `now`.
    pub fn check_time(&self, now: DateTime<Utc>) -> Result<(), TokenRejection> {
        if self.iat > now + LEEWAY || self.nbf > now + LEEWAY {
            return Err(TokenRejection::NotYetValid);
        }
        if now >= self.exp { Err(TokenRejection::Expired) } else { Ok(()) }
    }
}

/// Times as PASETO wants them, in one spelling only: RFC 3339, UTC as `Z`, whole seconds.
mod whole_seconds {
    use chrono::{DateTime, SecondsFormat, Utc};
    use serde::{Deserialize, Deserializer, Serializer, de::Error};

    pub fn serialize<S: Serializer>(time: &DateTime<Utc>, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&spell(time))
    }

    pub fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<DateTime<Utc>, D::Error> {
        let text = <&str>::deserialize(deserializer)?;
        // Of what the parser accepts only the one spelling has these three: `2030-01-01T00:00:00Z`.
        let spelling = (text.len(), text.as_bytes().get(10), text.as_bytes().get(19));
        if spelling != (20, Some(&b'T'), Some(&b'Z')) {
            return Err(D::Error::custom("not in whole seconds of UTC"));
        }
        Ok(DateTime::parse_from_rfc3339(text).map_err(D::Error::custom)?.to_utc())
    }

    fn spell(time: &DateTime<Utc>) -> String {
        time.to_rfc3339_opts(SecondsFormat::Secs, true)
    }
}
