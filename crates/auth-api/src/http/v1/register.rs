//! `POST /v1/auth/register`

use actix_web::{
    HttpRequest, HttpResponse,
    http::header::{self, HeaderMap},
    post, web,
};
use auth_events::commands::Locale;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use crate::{
    app::register::{Registration, register as register_account},
    domain::{display_name::DisplayName, email_address::EmailAddress},
    http::{
        ApiError,
        edge_error::EdgeError,
        idempotency::answer_once,
        json::ValidJson,
        limits::{Route, charge},
        openapi::ProblemDocument,
        request_client::RequestClient,
    },
    password::PasswordPolicy,
    state::AppState,
};

/// A registration.
#[derive(Deserialize, ToSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct RegisterRequest {
    /// The address, which a mail will prove.
    #[schema(example = "ada@example.com")]
    email: String,
    /// 15 to 256 characters; any characters.
    #[schema(example = "SecurePassword123", min_length = 15, max_length = 256)]
    password: String,
    /// The answer of the captcha widget, which must have the action `register` and be on a page of a host that the operator allows. It counts once. Needed
    /// unless `/v1/auth/config` names the provider `off`.
    #[schema(example = "DUMMY_TOKEN_FOR_TEST")]
    captcha_token: Option<String>,
    /// How to greet the user; 1 to 100 characters.
    #[schema(example = "Ada")]
    display_name: Option<String>,
    /// BCP 47 tag of the language of mails; `Accept-Language` decides when it is missing.
    #[schema(example = "en")]
    locale: Option<String>,
}

/// The registration was taken.
#[derive(Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct RegisterResponse {
    /// For the user.
    message: &'static str,
    /// Keep it in this browser: it proves, when the mail's link is opened, that the same browser registered.
    #[schema(example = "frh_mBvW8Yk0JfXq2N1m3k9w0cUu6fPzv5oQb3xg1hT7y4E")]
    registration_handle: String,
}

/// Registers an address. The answer is the same whether or not it has an account.
#[utoipa::path(tag = "accounts", request_body = RegisterRequest,
    params(("Idempotency-Key" = Option<String>, Header, example = "8e03978e-40d5-43dd-bc93-6894a57f9324",
        description = "16 to 255 printable ASCII characters. The same key and body get the same answer for a day, once a request was taken; \
                       after a refusal the key is free again.")),
    responses(
    (status = 202, body = RegisterResponse),
    (status = 400, body = ProblemDocument, content_type = "application/problem+json"),
    (status = 403, body = ProblemDocument, content_type = "application/problem+json",
        description = "`registration_disabled`."),
    (status = 409, body = ProblemDocument, content_type = "application/problem+json",
        description = "`idempotency_in_progress`."),
    (status = 413, body = ProblemDocument, content_type = "application/problem+json"),
    (status = 415, body = ProblemDocument, content_type = "application/problem+json"),
    (status = 422, body = ProblemDocument, content_type = "application/problem+json"),
    (status = 429, body = ProblemDocument, content_type = "application/problem+json"),
    (status = 503, body = ProblemDocument, content_type = "application/problem+json"),
))]
#[post("/v1/auth/register")]
pub async fn register(
    state: web::Data<AppState>,
    client: RequestClient,
    request: HttpRequest,
    ValidJson(body): ValidJson<RegisterRequest>,
) -> Result<HttpResponse, ApiError> {
    // Judging a password costs something. A registration that is none uses up none.
    charge(&state, &client, Route::Anonymous).await?;
    let registration = parse(body, &state.passwords, request.headers())?;
    charge(&state, &client, Route::Register).await?;
    answer_once(&state, &request, async || {
        let handle = register_account(&state, registration, &client.0).await?;
        Ok(HttpResponse::Accepted().json(RegisterResponse {
            message: "If the address can be registered, a mail with a link is on its way.",
            registration_handle: handle.expose().to_owned(),
        }))
    })
    .await
}

fn parse(
    body: RegisterRequest,
    passwords: &PasswordPolicy,
    headers: &HeaderMap,
) -> Result<Registration, EdgeError> {
    let email = EmailAddress::parse(&body.email)
        .map_err(|_| EdgeError::invalid("email", "email_invalid", "This is not an e-mail address."))?;
    let display_name = body.display_name.as_deref().map(DisplayName::parse).transpose().map_err(|_| {
        EdgeError::invalid("displayName", "display_name_invalid", "Use 1 to 100 printable characters.")
    })?;
    let name = display_name.as_ref().map(DisplayName::as_str);
    let password = passwords.choose(&body.password, &email, name).map_err(EdgeError::Password)?;
    let locale = match body.locale {
        Some(tag) => Locale::from_tag(&tag)
            .ok_or_else(|| EdgeError::invalid("locale", "locale_unknown", "Mails are written in: en, de."))?,
        None => preferred_locale(headers),
    };
    Ok(Registration { email, password, captcha_token: body.captcha_token, display_name, locale })
}

/// The first language of `Accept-Language` that mails are written in, by its quality (RFC 9110, section 12.5.4).
fn preferred_locale(headers: &HeaderMap) -> Locale {
    let header =
        headers.get(header::ACCEPT_LANGUAGE).and_then(|value| value.to_str().ok()).unwrap_or_default();
    let mut choices: Vec<(f32, Locale)> = header
        .split(',')
        .filter_map(|choice| {
            let (tag, weight) = choice.split_once(';').unwrap_or((choice, "q=1"));
            let quality = weight.trim().strip_prefix("q=")?.parse().ok()?;
            Some((quality, Locale::from_tag(tag.trim())?))
        })
        .filter(|(quality, _)| *quality > 0.0)
        .collect();
    choices.sort_by(|(left, _), (right, _)| right.total_cmp(left));
    choices.first().map_or_else(Locale::default, |(_, locale)| *locale)
}

#[cfg(test)]
mod tests {
    use actix_web::http::header::HeaderValue;

    use super::*;

    #[test]
    fn the_language_of_mails_follows_accept_language() {
        for (header, locale) in [
            ("de-AT, en;q=0.5", Locale::De),
            ("fr, en;q=0.3, de;q=0.7", Locale::De),
            ("en; q=0.3, de ; q=0.9", Locale::De),
            ("fr", Locale::En),
            ("de;q=0", Locale::En),
            ("", Locale::En),
            (";;;,q=", Locale::En),
        ] {
            let mut headers = HeaderMap::new();
            headers.insert(header::ACCEPT_LANGUAGE, HeaderValue::from_static(header));
            assert_eq!(preferred_locale(&headers), locale, "{header}");
        }
    }
}
