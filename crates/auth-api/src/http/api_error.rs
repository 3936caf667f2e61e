use std::fmt;

use actix_web::{HttpResponse, ResponseError, http::StatusCode};
use service_error::ServiceError;

/// The error of any handler: whatever a use case says about its own. The outermost middleware, which knows the request's id, writes the problem document.
#[derive(Debug)]
pub struct ApiError(Box<dyn ServiceError + Send + Sync>);

impl ApiError {
    /// What the use case says.
    #[must_use]
    pub fn service_error(&self) -> &dyn ServiceError {
        &*self.0
    }
}

impl<E: ServiceError + Send + Sync + 'static> From<E> for ApiError {
    fn from(error: E) -> Self {
        Self(Box::new(error))
    }
}

impl fmt::Display for ApiError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl ResponseError for ApiError {
    fn status_code(&self) -> StatusCode {
        // actix-web speaks the previous major version of the crate `http`.
        StatusCode::from_u16(self.0.kind().http_status().as_u16())
            .unwrap_or(StatusCode::INTERNAL_SERVER_ERROR)
    }

    fn error_response(&self) -> HttpResponse {
        HttpResponse::new(self.status_code())
    }
}
