//! A layer for axum 0.8 and tonic 0.14.

use std::{
    mem,
    sync::Arc,
    task::{Context, Poll},
    time::Duration,
};

use bytes::Bytes;
use futures::future::BoxFuture;
use http::{
    HeaderMap, HeaderName, HeaderValue, Request, Response, StatusCode,
    header::{AUTHORIZATION, CACHE_CONTROL, CONTENT_TYPE, RETRY_AFTER, WWW_AUTHENTICATE},
};
use http_body_util::{Either, Full};
use tonic::server::NamedService;
use tower::{Layer, Service};

use crate::{Session, Verifier, refusal::Refusal, requirements::Requirements};

/// Lets requests with a good access token in `authorization` pass, HTTP and gRPC alike, and puts their [`Session`] into their extensions. Others are answered
/// with a problem document and `WWW-Authenticate`, or with a status that has `google.rpc.ErrorInfo`.
///
/// Layers may be nested: an inner one that requires more uses the session that an outer one found.
#[derive(Debug, Clone)]
pub struct VerifierLayer {
    verifier: Verifier,
    requirements: Arc<Requirements>,
}

/// What [`VerifierLayer`] makes of a service.
#[derive(Debug, Clone)]
pub struct VerifierService<S> {
    inner: S,
    layer: VerifierLayer,
}

impl VerifierLayer {
    /// Requires a good token, and nothing else.
    #[must_use]
    pub fn new(verifier: Verifier) -> Self {
        Self { verifier, requirements: Arc::default() }
    }

    /// Requires a permission too, besides those that are required already.
    #[must_use]
    pub fn require_permission(mut self, permission: impl Into<String>) -> Self {
        Arc::make_mut(&mut self.requirements).permissions.push(permission.into());
        self
    }

    /// Requires a second factor too.
    #[must_use]
    pub fn require_aal2(mut self) -> Self {
        Arc::make_mut(&mut self.requirements).aal2 = true;
        self
    }

    /// Requires too that the user authenticated at most `max_age` ago.
    #[must_use]
    pub fn require_recent(mut self, max_age: Duration) -> Self {
        Arc::make_mut(&mut self.requirements).max_age = Some(max_age);
        self
    }

    async fn session(&self, found: Found) -> Result<Session, Refusal> {
        let session = match found {
            Found::Session(session) => session,
            Found::Authorization(headers) => {
                let values = headers.get_all(AUTHORIZATION).iter().map(|value| value.to_str().ok());
                self.verifier.authenticate(crate::refusal::bearer(values)?).await?
            }
        };
        self.requirements.check(&session)?;
        Ok(session)
    }
}

impl<S> Layer<S> for VerifierLayer {
    type Service = VerifierService<S>;

    fn layer(&self, inner: S) -> VerifierService<S> {
        VerifierService { inner, layer: self.clone() }
    }
}

/// What a request says about its session, without the request: bodies cannot be shared between threads.
enum Found {
    Session(Session),
    Authorization(HeaderMap),
}

impl Found {
    fn of<B>(request: &Request<B>) -> Self {
        if let Some(session) = request.extensions().get::<Session>() {
            return Self::Session(session.clone());
        }
        let values = request.headers().get_all(AUTHORIZATION).iter();
        Self::Authorization(values.map(|value| (AUTHORIZATION, value.clone())).collect())
    }
}

impl<S, B, R> Service<Request<B>> for VerifierService<S>
where
    S: Service<Request<B>, Response = Response<R>> + Clone + Send + 'static,
    S::Future: Send,
    B: Send + 'static,
{
    type Response = Response<Either<R, Full<Bytes>>>;
    type Error = S::Error;
    type Future = BoxFuture<'static, Result<Self::Response, Self::Error>>;

    fn poll_ready(&mut self, context: &mut Context<'_>) -> Poll<Result<(), Self::Error>> {
        self.inner.poll_ready(context)
    }

    fn call(&mut self, mut request: Request<B>) -> Self::Future {
        // The clone that was polled ready is the one to call.
        let clone = self.inner.clone();
        let mut inner = mem::replace(&mut self.inner, clone);
        let layer = self.layer.clone();
        let found = Found::of(&request);
        let is_grpc = is_grpc(request.headers());
        Box::pin(async move {
            match layer.session(found).await {
                Ok(session) => {
                    request.extensions_mut().insert(session);
                    Ok(inner.call(request).await?.map(Either::Left))
                }
                Err(refusal) if is_grpc => {
                    Ok(service_error::into_status(&refusal).into_http().map(Either::Right))
                }
                Err(refusal) => Ok(problem(&refusal).map(Either::Right)),
            }
        })
    }
}

/// So that a single service can be protected, and health checks stay open.
impl<S: NamedService> NamedService for VerifierService<S> {
    const NAME: &'static str = S::NAME;
}

fn is_grpc(headers: &HeaderMap) -> bool {
    headers.get(CONTENT_TYPE).is_some_and(|value| value.as_bytes().starts_with(b"application/grpc"))
}

fn problem(refusal: &Refusal) -> Response<Full<Bytes>> {
    let mut response = Response::new(Full::from(refusal.problem()));
    *response.status_mut() =
        StatusCode::from_u16(refusal.status()).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
    let headers = response.headers_mut();
    headers.insert(CONTENT_TYPE, HeaderValue::from_static(Refusal::MEDIA_TYPE));
    headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
    insert(headers, WWW_AUTHENTICATE, refusal.challenge().as_deref());
    insert(headers, RETRY_AFTER, refusal.wait_seconds().map(|seconds| seconds.to_string()).as_deref());
    response
}

fn insert(headers: &mut HeaderMap, name: HeaderName, value: Option<&str>) {
    if let Some(value) = value.and_then(|value| HeaderValue::from_str(value).ok()) {
        headers.insert(name, value);
    }
}
