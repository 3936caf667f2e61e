use std::future::{Ready, ready};

use actix_web::{FromRequest, HttpMessage, HttpRequest, dev::Payload};
use auth_events::Client;

use super::ApiError;

/// Where the request came from; put there by the outermost middleware.
#[derive(Clone)]
pub struct RequestClient(pub Client);

impl FromRequest for RequestClient {
    type Error = ApiError;
    type Future = Ready<Result<Self, ApiError>>;

    fn from_request(request: &HttpRequest, _payload: &mut Payload) -> Self::Future {
        let client = request.extensions().get::<Self>().cloned();
        ready(Ok(client.unwrap_or(Self(Client { ip: None, user_agent: None, request_id: None }))))
    }
}
