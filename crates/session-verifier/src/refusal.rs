use std::{borrow::Cow, time::Duration};

use serde::Serialize;
use service_error::{ErrorKind, ServiceError};

use crate::{Forbidden, VerifyError};

/// Why a request goes no further, and the answer that it gets instead.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(crate) enum Refusal {
    #[error("the request has no access token")]
    MissingToken,
    #[error(transparent)]
    NotVerified(#[from] VerifyError),
    /// The service forgot something.
    #[cfg(feature = "actix")]
    #[error("no Verifier is among the application's data")]
    NoVerifier,
}

/// A problem document (RFC 9457). Its type is none of its own: `code` names it.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Problem<'a> {
    r#type: &'static str,
    title: &'static str,
    status: u16,
    detail: &'a str,
    code: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    retry_after: Option<u64>,
}

impl From<Forbidden> for Refusal {
    fn from(forbidden: Forbidden) -> Self {
        Self::NotVerified(forbidden.into())
    }
}

impl ServiceError for Refusal {
    fn kind(&self) -> ErrorKind {
        match self {
            Self::MissingToken => ErrorKind::Unauthenticated,
            Self::NotVerified(error) => error.kind(),
            #[cfg(feature = "actix")]
            Self::NoVerifier => ErrorKind::Internal,
        }
    }

    fn reason(&self) -> &'static str {
        match self {
            Self::MissingToken => "missing_token",
            Self::NotVerified(error) => error.reason(),
            #[cfg(feature = "actix")]
            Self::NoVerifier => "internal",
        }
    }

    fn public_detail(&self) -> Cow<'static, str> {
        match self {
            Self::MissingToken => Cow::Borrowed("This needs an access token."),
            Self::NotVerified(error) => error.public_detail(),
            #[cfg(feature = "actix")]
            Self::NoVerifier => Cow::Borrowed(ErrorKind::Internal.title()),
        }
    }

    fn retry_after(&self) -> Option<Duration> {
        let Self::NotVerified(error) = self else { return None };
        error.retry_after()
    }

    fn metadata(&self) -> Vec<(&'static str, String)> {
        let Self::NotVerified(error) = self else { return Vec::new() };
        error.metadata()
    }
}

impl Refusal {
    /// The media type of [`Refusal::problem`].
    pub const MEDIA_TYPE: &str = "application/problem+json";

    pub fn status(&self) -> u16 {
        self.kind().http_status().as_u16()
    }

    pub fn problem(&self) -> String {
        let problem = Problem {
            r#type: "about:blank",
            title: self.kind().title(),
            status: self.status(),
            detail: &self.public_detail(),
            code: self.reason(),
            retry_after: self.wait_seconds(),
        };
        serde_json::to_string(&problem).unwrap_or_default()
    }

    /// For `Retry-After`.
    pub fn wait_seconds(&self) -> Option<u64> {
        self.retry_after().map(|wait| wait.as_secs().max(1))
    }

    /// For `WWW-Authenticate`: what the client must bring (RFC 6750, RFC 9470).
    pub fn challenge(&self) -> Option<Cow<'static, str>> {
        match self {
            Self::MissingToken => Some("Bearer".into()),
            Self::NotVerified(error) => token_challenge(error),
            #[cfg(feature = "actix")]
            Self::NoVerifier => None,
        }
    }
}

fn token_challenge(error: &VerifyError) -> Option<Cow<'static, str>> {
    let not_good = "Bearer error=\"invalid_token\", error_description=\"The access token is not good\"";
    let expired = "Bearer error=\"invalid_token\", error_description=\"The access token is expired\"";
    match error {
        VerifyError::Invalid | VerifyError::Revoked => Some(not_good.into()),
        VerifyError::Expired => Some(expired.into()),
        VerifyError::Forbidden(forbidden) => Some(forbidden_challenge(forbidden)),
        VerifyError::Unsure | VerifyError::Unavailable => None,
    }
}

fn forbidden_challenge(forbidden: &Forbidden) -> Cow<'static, str> {
    match forbidden {
        // Quotes and backslashes are no part of a scope, and would end the parameter.
        Forbidden::MissingPermission { permission } if is_scope(permission) => {
            format!("Bearer error=\"insufficient_scope\", scope=\"{permission}\"").into()
        }
        Forbidden::MissingPermission { .. } => "Bearer error=\"insufficient_scope\"".into(),
        Forbidden::InsufficientAal => {
            "Bearer error=\"insufficient_user_authentication\", acr_values=\"aal2\"".into()
        }
        Forbidden::AuthenticationTooOld { max_age } => {
            format!("Bearer error=\"insufficient_user_authentication\", max_age={}", max_age.as_secs()).into()
        }
    }
}

fn is_scope(text: &str) -> bool {
    text.bytes().all(|byte| byte == b' ' || (byte.is_ascii_graphic() && !matches!(byte, b'"' | b'\\')))
}

/// The access token in the values of `Authorization`. Who sends several leaves it open who asks.
pub(crate) fn bearer<'a>(mut values: impl Iterator<Item = Option<&'a str>>) -> Result<&'a str, Refusal> {
    let value = values.next().ok_or(Refusal::MissingToken)?;
    if values.next().is_some() {
        return Err(VerifyError::Invalid.into());
    }
    let (scheme, token) = value.unwrap_or_default().split_once(' ').ok_or(Refusal::MissingToken)?;
    if scheme.eq_ignore_ascii_case("bearer") { Ok(token.trim()) } else { Err(Refusal::MissingToken) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_bearer_token_is_read_whatever_the_case_of_its_scheme() {
        for header in ["Bearer v4", "bearer v4", "BEARER  v4 "] {
            assert_eq!(bearer([Some(header)].into_iter()), Ok("v4"), "{header}");
        }
        for header in ["", "Bearer", "Basic v4", "v4"] {
            assert_eq!(bearer([Some(header)].into_iter()), Err(Refusal::MissingToken), "{header}");
        }
        assert_eq!(bearer([None].into_iter()), Err(Refusal::MissingToken));
        assert_eq!(bearer(std::iter::empty()), Err(Refusal::MissingToken));
        let two = [Some("Bearer v4"), Some("Bearer v4")];
        assert_eq!(bearer(two.into_iter()), Err(VerifyError::Invalid.into()));
    }

    #[test]
    fn no_permission_can_break_out_of_the_challenge() {
        let challenge = |permission: &str| {
            let permission = permission.to_owned();
            Refusal::from(Forbidden::MissingPermission { permission }).challenge().unwrap().into_owned()
        };
        assert_eq!(challenge("reports.read"), "Bearer error=\"insufficient_scope\", scope=\"reports.read\"");
        for hostile in ["a\", realm=\"b", "a\\", "a\r\nSet-Cookie: b", "ä"] {
            assert_eq!(challenge(hostile), "Bearer error=\"insufficient_scope\"", "{hostile}");
        }
    }
}
