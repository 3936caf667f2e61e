//! Envoy's external authorization: what a proxy asks before it lets a request pass, so that services in any language are protected without code of theirs.

mod admission;
mod checked_request;
mod denial;
mod route;

use std::{error::Error, sync::Arc};

use access_tokens::Demands;
use envoy_types::ext_authz::v3::pb::{Authorization, AuthorizationServer, CheckRequest, CheckResponse};
use service_error::{ErrorKind, ServiceError};
use tonic::{Request, Response, Status};
use tracing::error;

use self::{
    checked_request::CheckedRequest,
    denial::Denial,
    route::{MalformedRoute, Mode, Route},
};
use super::{MAX_REQUEST_BYTES, refuse};
use crate::{
    app::validate::{self, Question, Validity},
    state::App,
};

/// The authorization of requests over `app`.
pub fn ext_authz_server(app: Arc<App>) -> AuthorizationServer<ExtAuthz> {
    AuthorizationServer::new(ExtAuthz { app }).max_decoding_message_size(MAX_REQUEST_BYTES)
}

pub struct ExtAuthz {
    app: Arc<App>,
}

#[tonic::async_trait]
impl Authorization for ExtAuthz {
    async fn check(&self, request: Request<CheckRequest>) -> Result<Response<CheckResponse>, Status> {
        check(&self.app, request.into_inner()).await.map(Response::new)
    }
}

/// A request that is denied is an answer, and so is one that a mistake in the configuration closes: proxies may be told to take a status, which
/// says that nobody could judge, for leave.
async fn check(app: &App, request: CheckRequest) -> Result<CheckResponse, Status> {
    let attributes = request.attributes.unwrap_or_default();
    let http = attributes.request.unwrap_or_default().http;
    let route = http.is_some().then(|| Route::parse(&attributes.context_extensions));
    let http = http.unwrap_or_default();
    let request = CheckedRequest::new(&http);
    let judged = match route.unwrap_or(Err(MalformedRoute::NoHttp)) {
        Ok(route) => judge(app, &request, route).await?,
        Err(malformed) => Err(malformed.into()),
    };
    Ok(judged.unwrap_or_else(|denial| deny(&denial, &request)))
}

fn deny(denial: &Denial, request: &CheckedRequest<'_>) -> CheckResponse {
    if denial.kind() == ErrorKind::Internal {
        error!(
            error = denial as &dyn Error,
            "A mistake in the configuration denies a request behind a proxy: {denial}"
        );
    }
    denial.answer(request.id())
}

async fn judge(
    app: &App,
    request: &CheckedRequest<'_>,
    route: Route,
) -> Result<Result<CheckResponse, Denial>, Status> {
    let Route { mode, demands, authoritative, strip_authorization } = route;
    let token = match (request.bearer_token(), mode) {
        (Ok(Some(token)), _) => token.to_owned(),
        (Ok(None), Mode::Optional) => return Ok(Ok(admission::anonymous(request, strip_authorization))),
        (Ok(None), Mode::Required) => return Ok(Err(Denial::MissingToken)),
        (Err(denial), _) => return Ok(Err(denial)),
    };
    let question = Question { access_token: token, demands, authoritative };
    let validity = validate::validate(app, &question).await.map_err(refuse)?;
    let Question { demands: Demands { max_auth_age, permissions, .. }, .. } = question;
    Ok(match validity {
        Validity::Active(seen) => admission::authenticated(request, &seen.claims, strip_authorization),
        Validity::Inactive(why) => Err(Denial::of(why, max_auth_age, permissions)),
    })
}
