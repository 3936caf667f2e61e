use std::{borrow::Cow, time::Duration};

use actix_web::HttpRequest;
use service_error::{ErrorKind, FieldError, ServiceError};

use super::{ApiError, MAX_BODY_BYTES};
use crate::{app::password_rules, domain::plain_password::PasswordError};

/// What is wrong with a request before any use case sees it.
#[derive(Debug, thiserror::Error)]
pub enum EdgeError {
    /// The body is not JSON.
    #[error("the body is not JSON")]
    MalformedJson,
    /// The body is JSON of another shape, or a value cannot be understood.
    #[error("fields of the request cannot be understood")]
    InvalidFields(Vec<FieldError>),
    /// The field `password` breaks a rule.
    #[error(transparent)]
    Password(PasswordError),
    /// The body is not declared as JSON.
    #[error("the body is not declared as JSON")]
    UnsupportedMediaType,
    /// The body is too large.
    #[error("the body is too large")]
    PayloadTooLarge,
    /// The body did not arrive in time, or not whole.
    #[error("the body did not arrive")]
    IncompleteBody,
    /// There is no access token.
    #[error("no access token was given")]
    MissingToken,
    /// The access token is not good.
    #[error("the access token is not good")]
    InvalidToken,
    /// The refresh token should be in the cookie, and there is none.
    #[error("no refresh cookie was sent")]
    MissingCookie,
    /// The page that sent the request may not use cookies.
    #[error("the page may not use cookies")]
    OriginNotAllowed,
    /// A browser asked whether a page may send a request, and it may not.
    #[error("the preflight was refused")]
    PreflightRefused,
    /// The work took too long.
    #[error("the work on the request took too long")]
    DeadlineExceeded,
    /// The head is too large.
    #[error("the head is too large")]
    HeadTooLarge,
    /// The request names a host that is not ours.
    #[error("the request is for another host")]
    MisdirectedRequest,
    /// No route has this path.
    #[error("no such path")]
    NotFound,
    /// The path has no such method.
    #[error("no such method")]
    MethodNotAllowed,
    /// A defect.
    #[error("a handler failed without saying why")]
    Unexplained,
}

impl EdgeError {
    /// One field that cannot be understood.
    pub fn invalid(field: &str, code: &str, detail: &str) -> Self {
        Self::InvalidFields(vec![FieldError::new(field, code, detail)])
    }
}

impl ServiceError for EdgeError {
    fn kind(&self) -> ErrorKind {
        match self {
            Self::MalformedJson | Self::InvalidFields(_) | Self::IncompleteBody => ErrorKind::Malformed,
            Self::Password(_) => ErrorKind::Unprocessable,
            Self::UnsupportedMediaType => ErrorKind::UnsupportedMediaType,
            Self::PayloadTooLarge => ErrorKind::PayloadTooLarge,
            Self::MissingToken | Self::InvalidToken | Self::MissingCookie => ErrorKind::Unauthenticated,
            Self::OriginNotAllowed | Self::PreflightRefused => ErrorKind::Forbidden,
            Self::DeadlineExceeded => ErrorKind::DeadlineExceeded,
            Self::HeadTooLarge => ErrorKind::HeadTooLarge,
            Self::MisdirectedRequest => ErrorKind::Misdirected,
            Self::NotFound => ErrorKind::NotFound,
            Self::MethodNotAllowed => ErrorKind::MethodNotAllowed,
            Self::Unexplained => ErrorKind::Internal,
        }
    }

    fn reason(&self) -> &'static str {
        match self {
            Self::MalformedJson => "malformed_json",
            Self::InvalidFields(_) => "invalid_request",
            Self::Password(error) => password_rules::code(*error),
            Self::UnsupportedMediaType => "unsupported_media_type",
            Self::PayloadTooLarge => "payload_too_large",
            Self::IncompleteBody => "incomplete_body",
            Self::MissingToken | Self::MissingCookie => "missing_token",
            Self::OriginNotAllowed => "origin_not_allowed",
            Self::PreflightRefused => "preflight_refused",
            Self::DeadlineExceeded => "deadline_exceeded",
            Self::InvalidToken => "invalid_token",
            Self::HeadTooLarge => "head_too_large",
            Self::MisdirectedRequest => "misdirected_request",
            Self::NotFound => "not_found",
            Self::MethodNotAllowed => "method_not_allowed",
            Self::Unexplained => "internal",
        }
    }

    fn public_detail(&self) -> Cow<'static, str> {
        match self {
            Self::MalformedJson => "The body is not a JSON object.".into(),
            Self::Password(error) => password_rules::detail(*error).into(),
            Self::InvalidFields(errors) => match errors.as_slice() {
                [only] => only.detail.clone().into(),
                _ => self.kind().title().into(),
            },
            Self::UnsupportedMediaType => "Send JSON in UTF-8, uncompressed, as application/json.".into(),
            Self::PayloadTooLarge => format!("The body may have at most {MAX_BODY_BYTES} bytes.").into(),
            Self::IncompleteBody => "The body did not arrive whole and in time.".into(),
            Self::MissingToken => "Send an access token: Authorization: Bearer <token>.".into(),
            Self::MissingCookie => "The cookie with the refresh token is missing. Log in again.".into(),
            Self::OriginNotAllowed => "This page may not use cookies.".into(),
            Self::PreflightRefused => "This page, method or header is not allowed.".into(),
            Self::InvalidToken => "The access token is not valid. Refresh it, or log in again.".into(),
            _ => self.kind().title().into(),
        }
    }

    fn retry_after(&self) -> Option<Duration> {
        matches!(self, Self::DeadlineExceeded).then_some(Duration::from_secs(2))
    }

    fn field_errors(&self) -> Vec<FieldError> {
        match self {
            Self::InvalidFields(errors) => errors.clone(),
            Self::Password(error) => vec![password_rules::field_error("password", *error)],
            _ => Vec::new(),
        }
    }
}

/// Answers whatever no route took: paths that nobody knows, and known ones with another method.
pub async fn no_route(request: HttpRequest) -> Result<&'static str, ApiError> {
    let is_known = request.match_pattern().is_some();
    Err(if is_known { EdgeError::MethodNotAllowed } else { EdgeError::NotFound }.into())
}
