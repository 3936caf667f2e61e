#![doc = include_str!("../README.md")]
#![warn(missing_docs)]

mod grpc;
mod kind;
mod problem;

use std::{borrow::Cow, time::Duration};

pub use grpc::{ERROR_DOMAIN, error_metadata, error_reason, into_status};
pub use kind::ErrorKind;
pub use problem::{FieldError, Problem};

/// What every error of a use case can say about itself to the outside.
///
/// The `Display` text is for operators and never leaves the process.
pub trait ServiceError: std::error::Error {
    /// The class, from which both status codes follow.
    fn kind(&self) -> ErrorKind;

    /// The stable, documented code that clients may match, in `snake_case`.
    fn reason(&self) -> &'static str;

    /// A sentence for the caller. It must not depend on secrets or on whether an account exists.
    fn public_detail(&self) -> Cow<'static, str> {
        Cow::Borrowed(self.kind().title())
    }

    /// The offending fields of a request that was understood but refused.
    fn field_errors(&self) -> Vec<FieldError> {
        Vec::new()
    }

    /// How long to wait before trying again; also sent as `Retry-After`.
    fn retry_after(&self) -> Option<Duration> {
        None
    }

    /// What else the calling service must know to act on it, by name. Services alone see it, in `google.rpc.ErrorInfo.metadata`; a problem document
    /// never has it.
    fn metadata(&self) -> Vec<(&'static str, String)> {
        Vec::new()
    }

    /// Whether solving a captcha would help.
    fn captcha_required(&self) -> bool {
        false
    }
}
