use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::{ErrorKind, ServiceError};

/// One field that a request got wrong.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct FieldError {
    /// The field as the client wrote it, a JSON path for nested ones.
    pub field: String,
    /// The stable code, in `snake_case`.
    pub code: String,
    /// A sentence for the user.
    pub detail: String,
    /// The least that would do, where the value is below it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub minimum: Option<usize>,
    /// The most that would do, where the value is above it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub maximum: Option<usize>,
}

impl FieldError {
    /// An error without limits.
    pub fn new(field: impl Into<String>, code: impl Into<String>, detail: impl Into<String>) -> Self {
        Self { field: field.into(), code: code.into(), detail: detail.into(), minimum: None, maximum: None }
    }
}

/// A problem document (RFC 9457), media type `application/problem+json`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Problem {
    /// Where the code is documented.
    pub r#type: String,
    /// The title of the kind.
    pub title: String,
    /// The HTTP status, repeated.
    pub status: u16,
    /// A sentence about this occurrence.
    pub detail: String,
    /// The stable code that clients may match.
    pub code: String,
    /// The id that operators find the request by.
    pub request_id: String,
    /// The offending fields, where the request was understood and refused.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub errors: Vec<FieldError>,
    /// Seconds to wait before trying again, rounded up: whoever obeys does not come too early.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub retry_after: Option<u64>,
    /// Whether solving a captcha would help.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub captcha_required: bool,
}

impl Problem {
    /// The media type of a problem document.
    pub const MEDIA_TYPE: &str = "application/problem+json";

    /// The public face of `error`; `docs_url` is the base address of the documentation, without a trailing slash.
    #[must_use]
    pub fn new(error: &(impl ServiceError + ?Sized), docs_url: &str, request_id: &str) -> Self {
        let kind: ErrorKind = error.kind();
        Self {
            r#type: format!("{docs_url}/problems/{}", error.reason()),
            title: kind.title().to_owned(),
            status: kind.http_status().as_u16(),
            detail: error.public_detail().into_owned(),
            code: error.reason().to_owned(),
            request_id: request_id.to_owned(),
            errors: error.field_errors(),
            retry_after: error.retry_after().map(whole_seconds),
            captcha_required: error.captcha_required(),
        }
    }
}

/// `wait` rounded up, at least one.
fn whole_seconds(wait: Duration) -> u64 {
    wait.as_secs().saturating_add(u64::from(wait.subsec_nanos() > 0)).max(1)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn waits_are_rounded_up() {
        for (milliseconds, seconds) in [(0, 1), (1, 1), (1_000, 1), (1_001, 2), (1_999, 2), (900_000, 900)] {
            assert_eq!(whole_seconds(Duration::from_millis(milliseconds)), seconds, "{milliseconds} ms");
        }
        assert_eq!(whole_seconds(Duration::MAX), u64::MAX);
    }
}
