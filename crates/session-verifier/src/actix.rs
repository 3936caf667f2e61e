//! An extractor and middleware for actix-web 4. Both find the [`Verifier`] among the application's data: `App::new().app_data(web::Data::new(verifier))`.

mod guard;

use std::fmt;

use actix_web::{
    FromRequest, HttpMessage, HttpRequest, HttpResponse, ResponseError,
    body::BoxBody,
    dev::Payload,
    http::{StatusCode, header},
    web::Data,
};
use futures::future::LocalBoxFuture;
use service_error::ServiceError;

pub use self::guard::{RequireAal2, RequirePermission, RequireRecent};
use crate::{
    Session, Verifier,
    refusal::{Refusal, bearer},
};

/// The session of the request's access token. Without a good one the request is answered before the handler is called: 401, or 503 when nobody can tell.
#[derive(Debug, Clone)]
pub struct Authenticated(pub Session);

impl FromRequest for Authenticated {
    type Error = actix_web::Error;
    type Future = LocalBoxFuture<'static, Result<Self, Self::Error>>;

    fn from_request(request: &HttpRequest, _payload: &mut Payload) -> Self::Future {
        let request = request.clone();
        Box::pin(async move { Ok(Self(session(&request).await.map_err(Answer)?)) })
    }
}

/// The session of a request, which is verified once however many ask.
async fn session(request: &HttpRequest) -> Result<Session, Refusal> {
    if let Some(session) = request.extensions().get::<Session>() {
        return Ok(session.clone());
    }
    let verifier = request.app_data::<Data<Verifier>>().map(Data::get_ref);
    let verifier = verifier.or_else(|| request.app_data()).ok_or(Refusal::NoVerifier)?;
    let values = request.headers().get_all(header::AUTHORIZATION).map(|value| value.to_str().ok());
    let session = verifier.authenticate(bearer(values)?).await?;
    request.extensions_mut().insert(session.clone());
    Ok(session)
}

/// A refusal as actix-web sends it.
#[derive(Debug)]
struct Answer(Refusal);

impl fmt::Display for Answer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl ResponseError for Answer {
    fn status_code(&self) -> StatusCode {
        StatusCode::from_u16(self.0.status()).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR)
    }

    fn error_response(&self) -> HttpResponse<BoxBody> {
        let Self(refusal) = self;
        if self.status_code() == StatusCode::INTERNAL_SERVER_ERROR {
            tracing::error!(
                error = refusal as &dyn std::error::Error,
                reason = refusal.reason(),
                "Cannot authenticate"
            );
        }
        let mut response = HttpResponse::build(self.status_code());
        if let Some(challenge) = refusal.challenge() {
            response.insert_header((header::WWW_AUTHENTICATE, &*challenge));
        }
        if let Some(seconds) = refusal.wait_seconds() {
            response.insert_header((header::RETRY_AFTER, seconds));
        }
        response
            .insert_header((header::CACHE_CONTROL, "no-store"))
            .content_type(Refusal::MEDIA_TYPE)
            .body(refusal.problem())
    }
}
