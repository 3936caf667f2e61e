//! `POST /v1/auth/resend-verification`

use actix_web::{HttpResponse, post, web};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::login::parse_email;
use crate::{
    app::resend_verification::resend_verification as resend,
    http::{
        ApiError,
        json::ValidJson,
        limits::{Route, charge},
        openapi::ProblemDocument,
        request_client::RequestClient,
    },
    state::AppState,
};

/// A request for another verification mail.
#[derive(Deserialize, ToSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct ResendVerificationRequest {
    /// The address that was registered.
    #[schema(example = "ada@example.com")]
    email: String,
    /// The answer of the captcha widget, which must have the action `resend` and be on a page of a host that the operator allows. It counts once. Needed
    /// unless `/v1/auth/config` names the provider `off`.
    #[schema(example = "DUMMY_TOKEN_FOR_TEST")]
    captcha_token: Option<String>,
}

/// The request was taken.
#[derive(Serialize, ToSchema)]
pub struct AcceptedResponse {
    /// For the user.
    #[schema(example = "If the address can be verified, a mail is on its way.")]
    pub message: &'static str,
}

/// Sends the verification mail again, at most once a minute. The answer is the same whether or not there is anything to verify.
#[utoipa::path(tag = "accounts", request_body = ResendVerificationRequest, responses(
    (status = 202, body = AcceptedResponse),
    (status = 400, body = ProblemDocument, content_type = "application/problem+json"),
    (status = 413, body = ProblemDocument, content_type = "application/problem+json"),
    (status = 415, body = ProblemDocument, content_type = "application/problem+json"),
    (status = 429, body = ProblemDocument, content_type = "application/problem+json"),
    (status = 503, body = ProblemDocument, content_type = "application/problem+json"),
))]
#[post("/v1/auth/resend-verification")]
pub async fn resend_verification(
    state: web::Data<AppState>,
    client: RequestClient,
    ValidJson(body): ValidJson<ResendVerificationRequest>,
) -> Result<HttpResponse, ApiError> {
    let email = parse_email("email", &body.email)?;
    charge(&state, &client, Route::Mail).await?;
    resend(&state, &email, body.captcha_token.as_deref(), &client.0).await?;
    let message = "If the address can be verified, a mail is on its way.";
    Ok(HttpResponse::Accepted().json(AcceptedResponse { message }))
}
