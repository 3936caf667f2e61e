//! What happens around every call: who calls, may they, for how long, in which trace, and how long it took.

use std::{
    mem,
    panic::AssertUnwindSafe,
    sync::Arc,
    task::{Context, Poll},
};

use futures::{FutureExt, future::BoxFuture};
use http::{HeaderMap, Request, Response};
use tokio::time::timeout;
use tonic::{Code, body::Body};
use tower::{Layer, Service};
use tracing::{Instrument, Span, field::Empty, info, info_span};

use super::{
    Caller, MethodPolicy,
    connection::Peer,
    deadline,
    error::CallError,
    metrics::{CallMetrics, code_name, code_of},
    policy::Method,
};

/// Everybody who can connect may call these; they make no spans.
const INFRASTRUCTURE: [&str; 2] = ["/grpc.health.", "/grpc.reflection."];

pub(super) struct Rules {
    pub policy: MethodPolicy,
    pub metrics: CallMetrics,
}

#[derive(Clone)]
pub(super) struct CallLayer(pub Arc<Rules>);

#[derive(Clone)]
pub(super) struct Calls<S> {
    inner: S,
    rules: Arc<Rules>,
}

impl<S> Layer<S> for CallLayer {
    type Service = Calls<S>;

    fn layer(&self, inner: S) -> Calls<S> {
        Calls { inner, rules: Arc::clone(&self.0) }
    }
}

impl<S> Service<Request<Body>> for Calls<S>
where
    S: Service<Request<Body>, Response = Response<Body>> + Clone + Send + 'static,
    S::Future: Send,
    S::Error: Send,
{
    type Response = Response<Body>;
    type Error = S::Error;
    type Future = BoxFuture<'static, Result<Self::Response, Self::Error>>;

    fn poll_ready(&mut self, context: &mut Context<'_>) -> Poll<Result<(), Self::Error>> {
        self.inner.poll_ready(context)
    }

    fn call(&mut self, mut request: Request<Body>) -> Self::Future {
        if INFRASTRUCTURE.iter().any(|prefix| request.uri().path().starts_with(prefix)) {
            return Box::pin(self.inner.call(request));
        }
        // The clone that was polled ready is the one to call.
        let clone = self.inner.clone();
        let inner = mem::replace(&mut self.inner, clone);
        let rules = Arc::clone(&self.rules);
        let (address, caller) = Peer::of(request.extensions());
        let path = request.uri().path().to_owned();
        if !rules.policy.method(&path).is_some_and(|method| method.admits(&caller)) {
            info!(
                caller = caller.as_str(),
                address = address.map(tracing::field::display),
                path,
                "Refused a call"
            );
            rules.metrics.denied(rules.policy.method(&path), &caller);
            rules.policy.denied(&caller, &path);
            return Box::pin(async { Ok(refusal(CallError::CallerNotAllowed)) });
        }
        Box::pin(async move {
            // It was there a moment ago.
            let Some(method) = rules.policy.method(&path) else {
                return Ok(refusal(CallError::CallerNotAllowed));
            };
            let span = if method.hot && !is_recorded(request.headers()) {
                Span::none()
            } else {
                let span = span(method, &caller);
                telemetry::propagation::continue_trace_from_headers(&span, request.headers());
                span
            };
            request.extensions_mut().insert(caller);
            let running = rules.metrics.begin(method);
            let response = answer(inner, request).instrument(span.clone()).await?;
            let code = code_of(response.headers());
            record(&span, code);
            running.end(code);
            Ok(response)
        })
    }
}

async fn answer<S>(mut inner: S, request: Request<Body>) -> Result<Response<Body>, S::Error>
where
    S: Service<Request<Body>, Response = Response<Body>>,
{
    let limit = deadline::of_server(request.headers());
    let call = AssertUnwindSafe(async { inner.call(request).await }).catch_unwind();
    match timeout(limit, call).await {
        Ok(Ok(response)) => response,
        // The panic hook has logged it.
        Ok(Err(_panic)) => Ok(refusal(CallError::Panicked)),
        Err(_elapsed) => Ok(refusal(CallError::DeadlineExceeded)),
    }
}

fn refusal(error: CallError) -> Response<Body> {
    service_error::into_status(&error).into_http()
}

/// Whether the caller says that its trace is recorded (W3C Trace Context, `sampled` of `trace-flags`).
fn is_recorded(headers: &HeaderMap) -> bool {
    let flags = headers.get("traceparent").and_then(|parent| parent.to_str().ok()?.split('-').nth(3));
    flags.and_then(|flags| u8::from_str_radix(flags, 16).ok()).is_some_and(|flags| flags & 1 == 1)
}

fn span(method: &Method, caller: &Caller) -> Span {
    info_span!(
        "rpc",
        otel.name = method.span,
        otel.kind = "server",
        otel.status_code = Empty,
        rpc.system = "grpc",
        rpc.service = method.service,
        rpc.method = method.name,
        rpc.code = Empty,
        caller = caller.as_str(),
    )
}

fn record(span: &Span, code: Code) {
    span.record("rpc.code", code_name(code));
    // What the caller did wrong is not an error of ours.
    if matches!(
        code,
        Code::Unknown | Code::DeadlineExceeded | Code::Internal | Code::Unavailable | Code::DataLoss
    ) {
        span.record("otel.status_code", "ERROR");
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_trace_is_recorded_when_its_flags_say_so() {
        let recorded = |parent: &'static str| {
            is_recorded(&HeaderMap::from_iter([("traceparent".parse().unwrap(), parent.parse().unwrap())]))
        };
        assert!(recorded("00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01"));
        assert!(!recorded("00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-00"));
        assert!(!recorded("nonsense") && !recorded("---"));
        assert!(!is_recorded(&HeaderMap::new()));
    }
}
