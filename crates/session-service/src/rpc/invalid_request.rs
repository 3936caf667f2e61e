use std::borrow::Cow;

use service_error::{ErrorKind, ServiceError};
use tonic::Status;

/// A field of a request that breaks its rule.
#[derive(Debug, thiserror::Error)]
#[error("{field} {rule}")]
pub struct InvalidRequest {
    pub field: &'static str,
    pub rule: &'static str,
}

impl InvalidRequest {
    pub fn new(field: &'static str, rule: &'static str) -> Self {
        Self { field, rule }
    }
}

impl ServiceError for InvalidRequest {
    fn kind(&self) -> ErrorKind {
        ErrorKind::Unprocessable
    }

    fn reason(&self) -> &'static str {
        "invalid_request"
    }

    /// Safe to say: the rule never repeats the value.
    fn public_detail(&self) -> Cow<'static, str> {
        Cow::Owned(format!("{} {}.", self.field, self.rule))
    }
}

impl From<InvalidRequest> for Status {
    fn from(error: InvalidRequest) -> Self {
        super::refuse(error)
    }
}
