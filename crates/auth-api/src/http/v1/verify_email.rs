//! `/v1/auth/verify-email`

use actix_web::{HttpRequest, HttpResponse, Responder, get, http::header, post, web};
use serde::{Deserialize, Serialize};
use utoipa::{IntoParams, ToSchema};

use crate::{
    app::verify_email::{Verification, verify_email as open_account},
    domain::bearer_secret::{OneTimeToken, RegistrationHandle},
    http::{
        ApiError,
        device_cookie::set_device_cookie,
        json::ValidJson,
        limits::{Route, charge},
        openapi::ProblemDocument,
        request_client::RequestClient,
    },
    state::AppState,
};

/// What a link without a fragment brings.
#[derive(IntoParams)]
#[into_params(parameter_in = Query)]
#[expect(dead_code, reason = "describes the parameter in the OpenAPI document")]
pub struct LinkQuery {
    /// The token of the mail.
    token: Option<String>,
}

/// Sends the browser to the frontend, with the token in the fragment. It never uses the token up: mail scanners follow links.
#[utoipa::path(tag = "accounts", params(LinkQuery), responses(
    (status = 303, description = "To the frontend's `/verify-email#token=…`."),
))]
#[get("/v1/auth/verify-email")]
pub async fn redirect_to_frontend(state: web::Data<AppState>, request: HttpRequest) -> impl Responder {
    let token = token_of(request.query_string());
    let location = token.map_or_else(
        || state.addresses.verify_email_page(),
        |token| state.addresses.verify_email_link(&token),
    );
    HttpResponse::SeeOther().insert_header((header::LOCATION, location)).finish()
}

/// Whatever else the link brings, people must arrive at the frontend.
fn token_of(query: &str) -> Option<OneTimeToken> {
    let (_, token) = url::form_urlencoded::parse(query.as_bytes()).find(|(name, _)| name == "token")?;
    OneTimeToken::parse(&token)
}

/// The proof of an address.
#[derive(Deserialize, ToSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct VerifyEmailRequest {
    /// The token of the mail's link.
    #[schema(example = "fat_1qV0m9b2s6bYw3C4xT8kz5hG7n2JrLpQeUaXfDyMoWc")]
    token: String,
    /// What the registration answered, if it was made in this browser.
    registration_handle: Option<String>,
    /// A new password; required without the handle.
    #[schema(min_length = 15, max_length = 256)]
    new_password: Option<String>,
}

/// The account is open.
#[derive(Serialize, ToSchema)]
pub struct VerifyEmailResponse {
    /// Always `verified`.
    #[schema(example = "verified")]
    status: &'static str,
}

/// Opens the account. The browser becomes a known device by a cookie; nobody is logged in.
#[utoipa::path(tag = "accounts", request_body = VerifyEmailRequest, responses(
    (status = 200, body = VerifyEmailResponse),
    (status = 400, body = ProblemDocument, content_type = "application/problem+json"),
    (status = 409, body = ProblemDocument, content_type = "application/problem+json",
        description = "`set_password_required`: another browser registered; send a new password."),
    (status = 413, body = ProblemDocument, content_type = "application/problem+json"),
    (status = 415, body = ProblemDocument, content_type = "application/problem+json"),
    (status = 422, body = ProblemDocument, content_type = "application/problem+json"),
    (status = 429, body = ProblemDocument, content_type = "application/problem+json"),
    (status = 503, body = ProblemDocument, content_type = "application/problem+json"),
))]
#[post("/v1/auth/verify-email")]
pub async fn verify_email(
    state: web::Data<AppState>,
    client: RequestClient,
    ValidJson(body): ValidJson<VerifyEmailRequest>,
) -> Result<impl Responder, ApiError> {
    let verification = Verification {
        token: OneTimeToken::parse(&body.token),
        handle: body.registration_handle.as_deref().and_then(RegistrationHandle::parse),
        new_password: body.new_password,
    };
    charge(&state, &client, Route::Anonymous).await?;
    let device = open_account(&state, verification, &client.0).await?;
    let mut answer = HttpResponse::Ok().json(VerifyEmailResponse { status: "verified" });
    set_device_cookie(&mut answer, &device);
    Ok(answer)
}
