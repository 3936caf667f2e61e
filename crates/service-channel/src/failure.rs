//! Why an attempt at a call came to nothing, and what that says about the call.

use std::error::Error;

use http::Response;
use service_error::{ErrorKind, ServiceError};
use tonic::{Code, Status, body::Body};

pub(crate) enum Failure {
    /// No replica could be connected to, so that the call was not sent.
    Unreachable(String),
    /// The connection failed, or refused the call.
    Broken(hyper::Error),
    /// The replica answered that it cannot.
    Unavailable(Box<Response<Body>>),
    /// The deadline passed.
    Late,
    /// The method has no name that HTTP could carry.
    Malformed(http::Error),
}

/// What a call gets that was late, as if the service had said so itself.
#[derive(Debug, thiserror::Error)]
#[error("the deadline passed")]
struct DeadlineExceeded;

impl ServiceError for DeadlineExceeded {
    fn kind(&self) -> ErrorKind {
        ErrorKind::DeadlineExceeded
    }

    fn reason(&self) -> &'static str {
        "deadline_exceeded"
    }
}

impl Failure {
    /// An answer, unless it says that the replica cannot, or that it gave up.
    ///
    /// `CANCELLED` is what a replica made with tonic says whose clock saw the call's deadline pass first. It can mean nothing else:
    /// a caller that still listens has not cancelled.
    pub fn unless_failed(answer: Response<Body>) -> Result<Response<Body>, Self> {
        match answer.headers().get("grpc-status").map(|status| Code::from_bytes(status.as_bytes())) {
            Some(Code::Unavailable) => Err(Self::Unavailable(Box::new(answer))),
            Some(Code::Cancelled) => Err(Self::Late),
            _ => Ok(answer),
        }
    }

    /// Whether it is certain that no replica began to work on the call: it never left, or HTTP/2 says that it was not looked at.
    pub fn is_before_processing(&self) -> bool {
        match self {
            Self::Unreachable(_) => true,
            Self::Broken(error) => error.is_canceled() || of_http2(error).is_some_and(was_not_looked_at),
            Self::Unavailable(_) | Self::Late | Self::Malformed(_) => false,
        }
    }

    /// Whether the replica, or the way to it, failed, and not the call.
    pub fn is_of_replica(&self) -> bool {
        matches!(self, Self::Broken(_) | Self::Unavailable(_))
    }

    /// Whether other calls on the same connection will fail too.
    pub fn ends_connection(&self) -> bool {
        matches!(self, Self::Broken(error) if !of_http2(error).is_some_and(h2::Error::is_reset))
    }

    pub fn into_response(self) -> Response<Body> {
        let status = match self {
            Self::Unavailable(answer) => return *answer,
            Self::Unreachable(why) => Status::unavailable(why),
            Self::Broken(error) => Status::unavailable(chain(&error)),
            Self::Late => service_error::into_status(&DeadlineExceeded),
            Self::Malformed(error) => Status::internal(error.to_string()),
        };
        status.into_http()
    }
}

fn of_http2(error: &hyper::Error) -> Option<&h2::Error> {
    error.source()?.downcast_ref()
}

/// h2 hands a GOAWAY of the replica only to calls that came after the last one that the replica will work on.
fn was_not_looked_at(error: &h2::Error) -> bool {
    error.is_remote() && (error.is_go_away() || error.reason() == Some(h2::Reason::REFUSED_STREAM))
}

/// The causes belong into the message: a status that went through a response has no source.
fn chain(error: &(dyn Error + 'static)) -> String {
    error.source().map_or_else(|| error.to_string(), |source| format!("{error}: {}", chain(source)))
}
