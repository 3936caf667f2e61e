use std::{rc::Rc, time::Duration};

use actix_web::{
    Error,
    body::EitherBody,
    dev::{Service, ServiceRequest, ServiceResponse, Transform, forward_ready},
};
use futures::future::{LocalBoxFuture, Ready, ready};

use super::{Answer, session};
use crate::{refusal::Refusal, requirements::Requirements};

/// Middleware that lets requests pass whose user has a permission: `.wrap(RequirePermission::new("reports.read"))`. Others get 401, 403 or 503.
#[derive(Debug, Clone)]
pub struct RequirePermission(Rc<Requirements>);

/// Middleware that lets requests pass whose user proved a second factor. Others get 401 with `insufficient_user_authentication` (RFC 9470).
#[derive(Debug, Clone)]
pub struct RequireAal2(Rc<Requirements>);

/// Middleware that lets requests pass whose user authenticated lately. Others get 401 with `insufficient_user_authentication` (RFC 9470).
#[derive(Debug, Clone)]
pub struct RequireRecent(Rc<Requirements>);

impl RequirePermission {
    /// The permission by its exact name.
    #[must_use]
    pub fn new(permission: impl Into<String>) -> Self {
        Self(Rc::new(Requirements { permissions: vec![permission.into()], ..Requirements::default() }))
    }
}

impl RequireAal2 {
    /// Any second factor will do.
    #[must_use]
    #[expect(clippy::new_without_default, reason = "the three are made alike")]
    pub fn new() -> Self {
        Self(Rc::new(Requirements { aal2: true, ..Requirements::default() }))
    }
}

impl RequireRecent {
    /// At most `max_age` ago.
    #[must_use]
    pub fn new(max_age: Duration) -> Self {
        Self(Rc::new(Requirements { max_age: Some(max_age), ..Requirements::default() }))
    }
}

macro_rules! middleware {
    ($($name:ident)+) => {$(
        impl<S, B> Transform<S, ServiceRequest> for $name
        where
            S: Service<ServiceRequest, Response = ServiceResponse<B>, Error = Error> + 'static,
            B: 'static,
        {
            type Response = ServiceResponse<EitherBody<B>>;
            type Error = Error;
            type Transform = Guard<S>;
            type InitError = ();
            type Future = Ready<Result<Guard<S>, ()>>;

            fn new_transform(&self, inner: S) -> Self::Future {
                ready(Ok(Guard { inner: Rc::new(inner), requirements: Rc::clone(&self.0) }))
            }
        }
    )+};
}

middleware!(RequirePermission RequireAal2 RequireRecent);

/// What the middleware makes of a service.
#[derive(Debug)]
pub struct Guard<S> {
    inner: Rc<S>,
    requirements: Rc<Requirements>,
}

impl<S, B> Service<ServiceRequest> for Guard<S>
where
    S: Service<ServiceRequest, Response = ServiceResponse<B>, Error = Error> + 'static,
    B: 'static,
{
    type Response = ServiceResponse<EitherBody<B>>;
    type Error = Error;
    type Future = LocalBoxFuture<'static, Result<Self::Response, Error>>;

    forward_ready!(inner);

    fn call(&self, request: ServiceRequest) -> Self::Future {
        let inner = Rc::clone(&self.inner);
        let requirements = Rc::clone(&self.requirements);
        Box::pin(async move {
            let permitted = session(request.request())
                .await
                .and_then(|session| requirements.check(&session).map_err(Refusal::from));
            match permitted {
                Ok(()) => Ok(inner.call(request).await?.map_into_left_body()),
                // An answer rather than an error: middleware around this one may add its headers.
                Err(refusal) => Ok(request.error_response(Answer(refusal)).map_into_right_body()),
            }
        })
    }
}
