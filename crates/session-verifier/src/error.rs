use std::{borrow::Cow, time::Duration};

use service_error::{ErrorKind, ServiceError};

/// Why there is no [`Session`](crate::Session).
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum VerifyError {
    /// Not a token of ours: malformed, forged, of another kind, issuer, audience or environment.
    #[error("the access token is not one of ours")]
    Invalid,
    /// It was good once.
    #[error("the access token is expired")]
    Expired,
    /// Its session has ended, or what it says is not true any more.
    #[error("the access token was revoked")]
    Revoked,
    /// Only session-service can tell; [`Verifier::authenticate`](crate::Verifier::authenticate) asks it. Never believe such a token.
    #[error("only session-service can tell whether the access token is good")]
    Unsure,
    /// Only session-service could have told, and it did not answer.
    #[error("session-service cannot be asked about the access token")]
    Unavailable,
    /// The token is good, and what was demanded of it is not met.
    #[error(transparent)]
    Forbidden(#[from] Forbidden),
}

/// What a good token does not entitle to.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum Forbidden {
    /// The user may not do this.
    #[error("the permission {permission} is missing")]
    #[non_exhaustive]
    MissingPermission {
        /// What would be needed; several names have spaces between them.
        permission: String,
    },
    /// A second factor is needed.
    #[error("the assurance level is too low")]
    InsufficientAal,
    /// The user must authenticate again.
    #[error("the authentication is older than {} s", max_age.as_secs())]
    #[non_exhaustive]
    AuthenticationTooOld {
        /// How old it may be.
        max_age: Duration,
    },
}

impl ServiceError for VerifyError {
    fn kind(&self) -> ErrorKind {
        match self {
            Self::Invalid | Self::Expired | Self::Revoked => ErrorKind::Unauthenticated,
            Self::Unsure | Self::Unavailable => ErrorKind::Unavailable,
            Self::Forbidden(forbidden) => forbidden.kind(),
        }
    }

    fn reason(&self) -> &'static str {
        match self {
            Self::Invalid | Self::Expired | Self::Revoked => "invalid_token",
            Self::Unsure | Self::Unavailable => "unavailable",
            Self::Forbidden(forbidden) => forbidden.reason(),
        }
    }

    fn public_detail(&self) -> Cow<'static, str> {
        match self {
            // Whoever has a token learns no more than that: why it was revoked is told to its user only.
            Self::Invalid | Self::Revoked => Cow::Borrowed("The access token is not good."),
            Self::Expired => Cow::Borrowed("The access token is expired."),
            Self::Unsure | Self::Unavailable => {
                Cow::Borrowed("The access token cannot be verified right now.")
            }
            Self::Forbidden(forbidden) => forbidden.public_detail(),
        }
    }

    fn retry_after(&self) -> Option<Duration> {
        matches!(self, Self::Unsure | Self::Unavailable).then_some(Duration::from_secs(1))
    }

    fn metadata(&self) -> Vec<(&'static str, String)> {
        match self {
            Self::Forbidden(forbidden) => forbidden.metadata(),
            _ => Vec::new(),
        }
    }
}

impl ServiceError for Forbidden {
    fn kind(&self) -> ErrorKind {
        match self {
            Self::MissingPermission { .. } => ErrorKind::Forbidden,
            // A stronger or newer proof helps: RFC 9470 calls that unauthenticated.
            Self::InsufficientAal | Self::AuthenticationTooOld { .. } => ErrorKind::Unauthenticated,
        }
    }

    fn reason(&self) -> &'static str {
        match self {
            Self::MissingPermission { .. } => "missing_permission",
            Self::InsufficientAal => "otp_required",
            Self::AuthenticationTooOld { .. } => "reauth_required",
        }
    }

    fn public_detail(&self) -> Cow<'static, str> {
        Cow::Borrowed(match self {
            Self::MissingPermission { .. } => "You may not do this.",
            Self::InsufficientAal => "This needs a second factor.",
            Self::AuthenticationTooOld { .. } => "This needs a fresh authentication.",
        })
    }

    fn metadata(&self) -> Vec<(&'static str, String)> {
        match self {
            Self::MissingPermission { permission } => vec![("permission", permission.clone())],
            Self::InsufficientAal => vec![("acr_values", "aal2".to_owned())],
            Self::AuthenticationTooOld { max_age } => vec![("max_age", max_age.as_secs().to_string())],
        }
    }
}
