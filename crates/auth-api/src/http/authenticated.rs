use std::{future::Future, pin::Pin};

use actix_web::{
    FromRequest, HttpMessage, HttpRequest,
    dev::Payload,
    http::header::{self, HeaderMap},
    web,
};
use secrecy::{ExposeSecret, SecretString};

use super::{ApiError, edge_error::EdgeError, limits::charge_user, request_client::RequestClient};
use crate::{app::dependency::DependencyError, clients::sessions::Claims, state::AppState};

/// More than any token that session-service makes.
const MAX_TOKEN_BYTES: usize = 4096;

/// Whoever the access token of the request speaks for. It is read from the `Authorization` header and from nowhere else.
pub struct Authenticated(pub Claims);

impl FromRequest for Authenticated {
    type Error = ApiError;
    type Future = Pin<Box<dyn Future<Output = Result<Self, ApiError>>>>;

    fn from_request(request: &HttpRequest, _payload: &mut Payload) -> Self::Future {
        let token = bearer_token(request.headers());
        let state = request.app_data::<web::Data<AppState>>().cloned();
        let request = request.clone();
        Box::pin(async move {
            let token = token?;
            let state = state.ok_or(EdgeError::Unexplained)?;
            let validated =
                state.sessions.validate(token.expose_secret()).await.map_err(DependencyError::from)?;
            let claims = validated.ok_or(EdgeError::InvalidToken)?;
            let client = RequestClient::extract(&request).await?;
            charge_user(&state, &client, claims.user_id).await?;
            request.extensions_mut().insert(claims.user_id);
            Ok(Self(claims))
        })
    }
}

/// The token of `Authorization: Bearer <token>` (RFC 6750, section 2.1).
pub fn bearer_token(headers: &HeaderMap) -> Result<SecretString, EdgeError> {
    let value = headers.get(header::AUTHORIZATION).and_then(|value| value.to_str().ok());
    let (scheme, token) = value.and_then(|value| value.split_once(' ')).ok_or(EdgeError::MissingToken)?;
    if !scheme.eq_ignore_ascii_case("bearer") || token.is_empty() {
        return Err(EdgeError::MissingToken);
    }
    if token.len() > MAX_TOKEN_BYTES { Err(EdgeError::InvalidToken) } else { Ok(SecretString::from(token)) }
}
