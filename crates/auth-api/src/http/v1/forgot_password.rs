//! `POST /v1/auth/forgot-password`

use actix_web::{HttpResponse, post, web};
use serde::Deserialize;
use utoipa::ToSchema;

use super::{login::parse_email, resend_verification::AcceptedResponse};
use crate::{
    app::forgot_password::forgot_password as ask_for_link,
    http::{
        ApiError,
        json::ValidJson,
        limits::{Route, charge},
        openapi::ProblemDocument,
        request_client::RequestClient,
    },
    state::AppState,
};

/// A request for a link that sets a new password.
#[derive(Deserialize, ToSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct ForgotPasswordRequest {
    /// The address of the account.
    #[schema(example = "ada@example.com")]
    email: String,
    /// The answer of the captcha widget, which must have the action `forgot` and be on a page of a host that the operator allows. It counts once. Needed
    /// unless `/v1/auth/config` names the provider `off`.
    #[schema(example = "DUMMY_TOKEN_FOR_TEST")]
    captcha_token: Option<String>,
}

/// Sends a link that sets a new password, at most once a minute. The answer is the same whether or not the address has an account.
#[utoipa::path(tag = "accounts", request_body = ForgotPasswordRequest, responses(
    (status = 202, body = AcceptedResponse),
    (status = 400, body = ProblemDocument, content_type = "application/problem+json",
        description = "`captcha_required`, or a request that cannot be understood."),
    (status = 413, body = ProblemDocument, content_type = "application/problem+json"),
    (status = 415, body = ProblemDocument, content_type = "application/problem+json"),
    (status = 429, body = ProblemDocument, content_type = "application/problem+json"),
    (status = 503, body = ProblemDocument, content_type = "application/problem+json"),
))]
#[post("/v1/auth/forgot-password")]
pub async fn forgot_password(
    state: web::Data<AppState>,
    client: RequestClient,
    ValidJson(body): ValidJson<ForgotPasswordRequest>,
) -> Result<HttpResponse, ApiError> {
    let email = parse_email("email", &body.email)?;
    charge(&state, &client, Route::Mail).await?;
    ask_for_link(&state, &email, body.captcha_token.as_deref(), &client.0).await?;
    let message = "If the address has an account, a mail with a link is on its way.";
    Ok(HttpResponse::Accepted().json(AcceptedResponse { message }))
}
