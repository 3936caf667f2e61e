use std::{future::Future, pin::Pin};

use actix_web::{
    FromRequest, HttpRequest,
    dev::Payload,
    http::header::{self, HeaderMap},
    web,
};
use secrecy::{ExposeSecret, SecretString};

use super::{ApiError, edge_error::EdgeError};
use crate::{app::dependency::DependencyError, clients::sessions::Claims, state::AppState};

/// Whoever the access token of the request speaks for. It is read from the `Authorization` header and from nowhere else.
pub struct Authenticated(pub Claims);

impl FromRequest for Authenticated {
    type Error = ApiError;
    type Future = Pin<Box<dyn Future<Output = Result<Self, ApiError>>>>;

    fn from_request(request: &HttpRequest, _payload: &mut Payload) -> Self::Future {
        let token = bearer_token(request.headers());
        let state = request.app_data::<web::Data<AppState>>().cloned();
        Box::pin(async move {
            let token = token.ok_or(EdgeError::MissingToken)?;
            let state = state.ok_or(EdgeError::Unexplained)?;
            let validated =
                state.sessions.validate(token.expose_secret()).await.map_err(DependencyError::from)?;
            Ok(Self(validated.ok_or(EdgeError::InvalidToken)?))
        })
    }
}

/// The token of `Authorization: Bearer <token>` (RFC 6750, section 2.1).
pub fn bearer_token(headers: &HeaderMap) -> Option<SecretString> {
    let value = headers.get(header::AUTHORIZATION)?.to_str().ok()?;
    let (scheme, token) = value.split_once(' ')?;
    (scheme.eq_ignore_ascii_case("bearer") && !token.is_empty()).then(|| SecretString::from(token))
}
