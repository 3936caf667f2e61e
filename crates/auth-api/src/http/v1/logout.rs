//! `POST /v1/auth/logout`

use actix_web::{FromRequest, HttpRequest, HttpResponse, Responder, http::header, post, web};
use secrecy::SecretString;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use crate::{
    app::logout::logout as end_session,
    clients::sessions::SessionCredential,
    http::{
        ApiError, authenticated::bearer_token, json::ValidJson, openapi::ProblemDocument,
        request_client::RequestClient,
    },
    state::AppState,
};

/// Which session to end, when it is not the access token's.
#[derive(Deserialize, Default, ToSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct LogoutRequest {
    /// A refresh token of the session.
    refresh_token: Option<String>,
}

/// The session is over.
#[derive(Serialize, ToSchema)]
pub struct LogoutResponse {
    /// Always `logged_out`.
    #[schema(example = "logged_out")]
    status: &'static str,
}

/// Ends the session of a refresh token (in the body) or of an access token (in `Authorization`). Idempotent.
#[utoipa::path(tag = "sessions", request_body(content = Option<LogoutRequest>), security(("bearer" = [])), responses(
    (status = 200, body = LogoutResponse),
    (status = 400, body = ProblemDocument, content_type = "application/problem+json"),
    (status = 401, body = ProblemDocument, content_type = "application/problem+json"),
    (status = 413, body = ProblemDocument, content_type = "application/problem+json"),
    (status = 415, body = ProblemDocument, content_type = "application/problem+json"),
    (status = 503, body = ProblemDocument, content_type = "application/problem+json"),
))]
#[post("/v1/auth/logout")]
pub async fn logout(
    state: web::Data<AppState>,
    client: RequestClient,
    request: HttpRequest,
    payload: web::Payload,
) -> Result<impl Responder, ApiError> {
    let body = optional_body(&request, payload).await?;
    let credential = match body.refresh_token {
        Some(token) => SessionCredential::Refresh(SecretString::from(token)),
        None => SessionCredential::Access(bearer_token(request.headers())?),
    };
    end_session(&state, &credential, &client.0).await?;
    Ok(HttpResponse::Ok().json(LogoutResponse { status: "logged_out" }))
}

async fn optional_body(request: &HttpRequest, payload: web::Payload) -> Result<LogoutRequest, ApiError> {
    let headers = request.headers();
    let is_empty = !headers.contains_key(header::TRANSFER_ENCODING)
        && headers.get(header::CONTENT_LENGTH).is_none_or(|length| length.as_bytes() == b"0");
    if is_empty {
        return Ok(LogoutRequest::default());
    }
    Ok(ValidJson::from_request(request, &mut payload.into_inner()).await?.0)
}
