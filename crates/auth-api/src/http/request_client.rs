use std::{
    cell::RefCell,
    future::{Ready, ready},
    rc::Rc,
};

use actix_web::{FromRequest, HttpMessage, HttpRequest, dev::Payload};
use auth_events::Client;
use rate_limit::Standing;

use super::ApiError;

/// Where the request came from; put there by the outermost middleware.
#[derive(Clone)]
pub struct RequestClient(pub Client, Rc<RefCell<Option<Standing>>>);

impl RequestClient {
    /// A client that nothing was charged to yet.
    pub fn new(client: Client) -> Self {
        Self(client, Rc::default())
    }

    /// Remembers how the client stands with a limit, for the headers of the answer. Of several limits the tightest is told.
    pub fn stands(&self, standing: &Standing) {
        let mut told = self.1.borrow_mut();
        if told.as_ref().is_none_or(|told| standing.remaining <= told.remaining) {
            *told = Some(standing.clone());
        }
    }

    /// How the client stands, if anything was charged to it.
    pub fn standing(&self) -> Option<Standing> {
        self.1.borrow().clone()
    }
}

impl FromRequest for RequestClient {
    type Error = ApiError;
    type Future = Ready<Result<Self, ApiError>>;

    fn from_request(request: &HttpRequest, _payload: &mut Payload) -> Self::Future {
        let client = request.extensions().get::<Self>().cloned();
        let unknown = || Self::new(Client { ip: None, user_agent: None, request_id: None });
        ready(Ok(client.unwrap_or_else(unknown)))
    }
}
