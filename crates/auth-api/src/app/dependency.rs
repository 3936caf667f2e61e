//! The failures of what use cases depend on, and what they look like from outside: the same in every use case.

use std::{borrow::Cow, time::Duration};

use service_error::{ErrorKind, ServiceError};

use crate::{
    clients::{audit::AuditError, captcha::CaptchaError, sessions::SessionsError},
    password::VaultError,
};

const RETRY_SOON: Duration = Duration::from_secs(2);

/// Something that a use case needs did not do its part.
#[derive(Debug, thiserror::Error)]
pub enum DependencyError {
    /// The captcha, or its provider.
    #[error(transparent)]
    Captcha(#[from] CaptchaError),
    /// Password hashing.
    #[error(transparent)]
    Password(#[from] VaultError),
    /// audit-service.
    #[error(transparent)]
    Audit(#[from] AuditError),
    /// session-service.
    #[error(transparent)]
    Sessions(#[from] SessionsError),
    /// PostgreSQL.
    #[error(transparent)]
    Database(#[from] pg::Error),
    /// A mail's parameters cannot be written as JSON.
    #[error("the mail could not be written")]
    Mail(#[from] serde_json::Error),
}

impl ServiceError for DependencyError {
    fn kind(&self) -> ErrorKind {
        match self {
            Self::Captcha(CaptchaError::Required | CaptchaError::Invalid(_)) => ErrorKind::Malformed,
            Self::Sessions(SessionsError::Refused { .. }) => ErrorKind::Unauthenticated,
            Self::Captcha(CaptchaError::Unavailable(_))
            | Self::Password(VaultError::Overloaded(_))
            | Self::Audit(AuditError::Unavailable(_))
            | Self::Sessions(SessionsError::Unavailable(_)) => ErrorKind::Unavailable,
            Self::Database(error) if error.is_transient() => ErrorKind::Unavailable,
            Self::Password(VaultError::Kernel(_))
            | Self::Audit(_)
            | Self::Sessions(SessionsError::Unexpected(_))
            | Self::Database(_)
            | Self::Mail(_) => ErrorKind::Internal,
        }
    }

    fn reason(&self) -> &'static str {
        match self {
            Self::Captcha(CaptchaError::Required) => "captcha_required",
            Self::Captcha(CaptchaError::Invalid(_)) => "captcha_invalid",
            Self::Captcha(CaptchaError::Unavailable(_)) => "captcha_unavailable",
            Self::Password(VaultError::Overloaded(_)) => "overloaded",
            Self::Sessions(SessionsError::Refused { .. }) => "invalid_token",
            Self::Sessions(_) | Self::Audit(_) | Self::Database(_)
                if self.kind() == ErrorKind::Unavailable =>
            {
                "unavailable"
            }
            _ => "internal",
        }
    }

    fn public_detail(&self) -> Cow<'static, str> {
        match self {
            Self::Captcha(CaptchaError::Required) => "Captcha required.".into(),
            Self::Captcha(CaptchaError::Invalid(_)) => "The captcha was not accepted. Try again.".into(),
            _ => self.kind().title().into(),
        }
    }

    fn retry_after(&self) -> Option<Duration> {
        (self.kind() == ErrorKind::Unavailable).then_some(RETRY_SOON)
    }

    fn captcha_required(&self) -> bool {
        matches!(self, Self::Captcha(CaptchaError::Required | CaptchaError::Invalid(_)))
    }
}

/// Lets `?` turn the errors of dependencies into the variant `Dependency` of a use case's error.
macro_rules! depends_on_the_outside {
    ($error:ident) => {
        impl<E: Into<$crate::app::dependency::DependencyError>> From<E> for $error {
            fn from(error: E) -> Self {
                Self::Dependency(error.into())
            }
        }
    };
}
pub(crate) use depends_on_the_outside;

impl From<diesel::result::Error> for DependencyError {
    fn from(error: diesel::result::Error) -> Self {
        Self::Database(error.into())
    }
}
