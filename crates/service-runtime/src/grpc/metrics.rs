use std::time::Instant;

use http::HeaderMap;
use prometheus::{HistogramOpts, HistogramVec, IntCounterVec, Opts, Registry};
use tonic::Code;

use super::{Caller, policy::Method};

const BUCKETS: [f64; 13] =
    [0.000_25, 0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.0];

#[derive(Debug, Clone)]
pub(super) struct CallMetrics {
    handling: HistogramVec,
    denied: IntCounterVec,
}

/// A call that runs. When it is dropped without an end, because the caller went away, it counts as cancelled.
pub(super) struct RunningCall<'a> {
    metrics: &'a CallMetrics,
    method: &'a Method,
    started: Instant,
    code: Code,
}

impl CallMetrics {
    pub(super) fn register(registry: &Registry) -> anyhow::Result<Self> {
        let handling = HistogramVec::new(
            HistogramOpts::new(
                "grpc_server_handling_seconds",
                "How long calls took, to the head of the answer for those that stream.",
            )
            .buckets(BUCKETS.to_vec()),
            &["grpc_service", "grpc_method", "grpc_code"],
        )?;
        let denied = IntCounterVec::new(
            Opts::new(
                "grpc_calls_denied_total",
                "Calls that the method policy refused, by the caller's role.",
            ),
            &["grpc_service", "grpc_method", "role"],
        )?;
        registry.register(Box::new(handling.clone()))?;
        registry.register(Box::new(denied.clone()))?;
        Ok(Self { handling, denied })
    }

    /// Unlisted methods share one label: callers choose their names.
    pub(super) fn denied(&self, method: Option<&Method>, caller: &Caller) {
        let (service, name) = method.map_or(("unknown", "unknown"), |method| (method.service, method.name));
        self.denied.with_label_values(&[service, name, caller.role().unwrap_or("none")]).inc();
    }

    pub(super) fn begin<'a>(&'a self, method: &'a Method) -> RunningCall<'a> {
        RunningCall { metrics: self, method, started: Instant::now(), code: Code::Cancelled }
    }
}

impl RunningCall<'_> {
    pub(super) fn end(mut self, code: Code) {
        self.code = code;
    }
}

impl Drop for RunningCall<'_> {
    fn drop(&mut self) {
        let labels = [self.method.service, self.method.name, code_name(self.code)];
        self.metrics.handling.with_label_values(&labels).observe(self.started.elapsed().as_secs_f64());
    }
}

/// The code in the head of an answer; a head without one begins a good answer.
pub(super) fn code_of(headers: &HeaderMap) -> Code {
    headers.get("grpc-status").map_or(Code::Ok, |code| Code::from_bytes(code.as_bytes()))
}

/// The name in the specification.
pub(super) fn code_name(code: Code) -> &'static str {
    match code {
        Code::Ok => "OK",
        Code::Cancelled => "CANCELLED",
        Code::Unknown => "UNKNOWN",
        Code::InvalidArgument => "INVALID_ARGUMENT",
        Code::DeadlineExceeded => "DEADLINE_EXCEEDED",
        Code::NotFound => "NOT_FOUND",
        Code::AlreadyExists => "ALREADY_EXISTS",
        Code::PermissionDenied => "PERMISSION_DENIED",
        Code::ResourceExhausted => "RESOURCE_EXHAUSTED",
        Code::FailedPrecondition => "FAILED_PRECONDITION",
        Code::Aborted => "ABORTED",
        Code::OutOfRange => "OUT_OF_RANGE",
        Code::Unimplemented => "UNIMPLEMENTED",
        Code::Internal => "INTERNAL",
        Code::Unavailable => "UNAVAILABLE",
        Code::DataLoss => "DATA_LOSS",
        Code::Unauthenticated => "UNAUTHENTICATED",
    }
}
