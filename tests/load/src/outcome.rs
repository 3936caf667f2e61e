use std::fmt;

/// What became of a request.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Outcome {
    /// An HTTP status.
    Http(u16),
    /// The number of a gRPC status.
    Grpc(i32),
    /// No answer: a connection that broke, or one that waited too long.
    Silence,
}

impl Outcome {
    /// Whether the request got what it asked for.
    #[must_use]
    pub fn is_good(self) -> bool {
        matches!(self, Self::Http(200..=299) | Self::Grpc(0))
    }

    /// The outcome of a gRPC call.
    #[must_use]
    pub fn of_call<T>(result: &Result<T, tonic::Status>) -> Self {
        Self::Grpc(result.as_ref().map_or_else(|status| status.code().into(), |_| 0))
    }
}

impl fmt::Display for Outcome {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Http(status) => write!(formatter, "{status}"),
            Self::Grpc(code) => write!(formatter, "{:?}", tonic::Code::from(*code)),
            Self::Silence => formatter.write_str("no answer"),
        }
    }
}
