use http::StatusCode;
use tonic::Code;

/// The classes of failure; each has one HTTP status and one gRPC code.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum ErrorKind {
    /// The request could not be understood.
    Malformed,
    /// The caller is not known, or proved nothing.
    Unauthenticated,
    /// The caller is known and may not do this.
    Forbidden,
    /// There is no such thing, or none that the caller may know of.
    NotFound,
    /// The resource has no such method.
    MethodNotAllowed,
    /// The state of the resource does not permit this.
    Conflict,
    /// The body is larger than the limit.
    PayloadTooLarge,
    /// The request names a host that is not this one.
    Misdirected,
    /// The head of the request is larger than the limit.
    HeadTooLarge,
    /// The body is of a media type that is not understood.
    UnsupportedMediaType,
    /// The request was understood and breaks a rule.
    Unprocessable,
    /// The second factor is locked for a while.
    Locked,
    /// Too many requests; try later.
    TooManyRequests,
    /// A dependency is away or the service is at capacity; try later.
    Unavailable,
    /// The deadline passed.
    DeadlineExceeded,
    /// A defect on our side.
    Internal,
}

impl ErrorKind {
    /// The HTTP status.
    #[must_use]
    pub fn http_status(self) -> StatusCode {
        match self {
            Self::Malformed => StatusCode::BAD_REQUEST,
            Self::Unauthenticated => StatusCode::UNAUTHORIZED,
            Self::Forbidden => StatusCode::FORBIDDEN,
            Self::NotFound => StatusCode::NOT_FOUND,
            Self::MethodNotAllowed => StatusCode::METHOD_NOT_ALLOWED,
            Self::Conflict => StatusCode::CONFLICT,
            Self::PayloadTooLarge => StatusCode::PAYLOAD_TOO_LARGE,
            Self::UnsupportedMediaType => StatusCode::UNSUPPORTED_MEDIA_TYPE,
            Self::Misdirected => StatusCode::MISDIRECTED_REQUEST,
            Self::HeadTooLarge => StatusCode::REQUEST_HEADER_FIELDS_TOO_LARGE,
            Self::Unprocessable => StatusCode::UNPROCESSABLE_ENTITY,
            Self::Locked => StatusCode::LOCKED,
            Self::TooManyRequests => StatusCode::TOO_MANY_REQUESTS,
            Self::Unavailable | Self::DeadlineExceeded => StatusCode::SERVICE_UNAVAILABLE,
            Self::Internal => StatusCode::INTERNAL_SERVER_ERROR,
        }
    }

    /// The gRPC code.
    #[must_use]
    pub fn grpc_code(self) -> Code {
        match self {
            Self::Malformed | Self::UnsupportedMediaType | Self::Unprocessable | Self::Misdirected => {
                Code::InvalidArgument
            }
            Self::Unauthenticated => Code::Unauthenticated,
            Self::Forbidden => Code::PermissionDenied,
            Self::NotFound => Code::NotFound,
            Self::MethodNotAllowed => Code::Unimplemented,
            Self::Conflict | Self::Locked => Code::FailedPrecondition,
            Self::PayloadTooLarge | Self::HeadTooLarge | Self::TooManyRequests => Code::ResourceExhausted,
            Self::Unavailable => Code::Unavailable,
            Self::DeadlineExceeded => Code::DeadlineExceeded,
            Self::Internal => Code::Internal,
        }
    }

    /// A short title for people, the same for every error of the kind.
    #[must_use]
    pub fn title(self) -> &'static str {
        match self {
            Self::Malformed => "The request could not be understood.",
            Self::Unauthenticated => "Authentication is required.",
            Self::Forbidden => "This is not allowed.",
            Self::NotFound => "There is no such resource.",
            Self::MethodNotAllowed => "The resource does not support this method.",
            Self::Conflict => "The resource is in another state.",
            Self::PayloadTooLarge | Self::HeadTooLarge => "The request is too large.",
            Self::Misdirected => "The request is for another host.",
            Self::UnsupportedMediaType => "The media type is not supported.",
            Self::Unprocessable => "The request breaks a rule.",
            Self::Locked => "The second factor is locked for a while.",
            Self::TooManyRequests => "Too many requests.",
            Self::Unavailable => "The service is not available right now.",
            Self::DeadlineExceeded => "The request took too long.",
            Self::Internal => "Something went wrong on our side.",
        }
    }
}
