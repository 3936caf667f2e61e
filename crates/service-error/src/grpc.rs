use std::collections::HashMap;

use tonic::Status;
use tonic_types::{ErrorDetails, StatusExt};

use crate::ServiceError;

/// The `domain` of every `google.rpc.ErrorInfo` that the platform sends.
pub const ERROR_DOMAIN: &str = "feature-auth";

/// The status that `error` becomes on the wire, with its reason in `google.rpc.ErrorInfo`.
#[must_use]
pub fn into_status(error: &(impl ServiceError + ?Sized)) -> Status {
    let metadata: HashMap<String, String> =
        error.metadata().into_iter().map(|(name, value)| (name.to_owned(), value)).collect();
    let mut details = ErrorDetails::with_error_info(error.reason(), ERROR_DOMAIN, metadata);
    if let Some(wait) = error.retry_after() {
        details.set_retry_info(Some(wait));
    }
    Status::with_error_details(error.kind().grpc_code(), error.public_detail(), details)
}

/// The reason of a status that one of our services sent, if it has one.
#[must_use]
pub fn error_reason(status: &Status) -> Option<String> {
    let info = status.get_details_error_info()?;
    (info.domain == ERROR_DOMAIN).then_some(info.reason)
}

/// What a status that one of our services sent says besides its reason; often nothing.
#[must_use]
pub fn error_metadata(status: &Status) -> HashMap<String, String> {
    let info = status.get_details_error_info().filter(|info| info.domain == ERROR_DOMAIN);
    info.map(|info| info.metadata).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ErrorKind;

    #[derive(Debug, thiserror::Error)]
    #[error("row 17 of table sessions is missing")]
    struct Missing;

    impl ServiceError for Missing {
        fn kind(&self) -> ErrorKind {
            ErrorKind::NotFound
        }
        fn reason(&self) -> &'static str {
            "session_not_found"
        }
        fn metadata(&self) -> Vec<(&'static str, String)> {
            vec![("row", "17".to_owned())]
        }
    }

    #[test]
    fn the_status_names_the_reason_and_hides_the_message() {
        let status = into_status(&Missing);
        assert_eq!(status.code(), tonic::Code::NotFound);
        assert_eq!(error_reason(&status).as_deref(), Some("session_not_found"));
        assert!(!status.message().contains("row 17"));
    }

    #[test]
    fn metadata_is_read_from_our_own_services_only() {
        let status = into_status(&Missing);
        assert_eq!(error_metadata(&status), HashMap::from([("row".to_owned(), "17".to_owned())]));
        let details = ErrorDetails::with_error_info("x", "elsewhere", error_metadata(&status));
        let foreign = Status::with_error_details(tonic::Code::NotFound, "", details);
        assert!(error_metadata(&foreign).is_empty());
        assert!(error_metadata(&Status::not_found("")).is_empty());
    }
}
