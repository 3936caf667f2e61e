//! The OpenAPI document, collected from the handlers.

use std::collections::BTreeMap;

use actix_web::App;
use serde_json::Value;
use utoipa::{
    Modify, OpenApi, ToSchema,
    openapi::security::{HttpAuthScheme, HttpBuilder, SecurityScheme},
};
use utoipa_actix_web::AppExt;

#[derive(OpenApi)]
#[openapi(
    info(
        title = "Feature Auth",
        description = "The public interface of the authentication platform: accounts and sessions.",
        license(name = "Apache-2.0", identifier = "Apache-2.0")
    ),
    modifiers(&BearerScheme),
    tags(
        (name = "accounts", description = "Registration, verification and one's own account."),
        (name = "sessions", description = "Login, refresh and logout."),
        (name = "second factor", description = "Codes of an authenticator app and recovery codes."),
        (name = "operations", description = "For operators and machines."),
    ),
)]
struct Base;

struct BearerScheme;

impl Modify for BearerScheme {
    fn modify(&self, openapi: &mut utoipa::openapi::OpenApi) {
        let scheme = HttpBuilder::new()
            .scheme(HttpAuthScheme::Bearer)
            .bearer_format("PASETO v4.public")
            .description(Some("An access token."))
            .build();
        let components = openapi.components.get_or_insert_with(Default::default);
        components.add_security_scheme("bearer", SecurityScheme::Http(scheme));
    }
}

/// The document of every documented route.
#[must_use]
pub fn document() -> utoipa::openapi::OpenApi {
    let app = App::new().into_utoipa_app().openapi(Base::openapi());
    app.configure(super::documented_routes).split_for_parts().1
}

/// The methods of each route as `Allow` lists them.
#[must_use]
pub fn methods_by_route() -> BTreeMap<String, String> {
    let document = serde_json::to_value(document()).unwrap_or_default();
    let paths = document.get("paths").and_then(Value::as_object).into_iter().flatten();
    let methods = |operations: &Value| -> Vec<String> {
        operations.as_object().into_iter().flatten().map(|(method, _)| method.to_uppercase()).collect()
    };
    paths.map(|(path, operations)| (path.clone(), methods(operations).join(", "))).collect()
}

/// An error: a problem document (RFC 9457).
#[derive(ToSchema)]
#[schema(as = Problem, rename_all = "camelCase")]
pub struct ProblemDocument {
    /// Where the code is documented.
    #[schema(example = "https://auth.example.com/problems/invalid_credentials")]
    pub r#type: String,
    /// The title of the kind.
    #[schema(example = "Authentication is required.")]
    pub title: String,
    /// The HTTP status, repeated.
    #[schema(example = 401)]
    pub status: u16,
    /// A sentence about this occurrence.
    #[schema(example = "Email or password is incorrect.")]
    pub detail: String,
    /// The stable code that clients may match.
    #[schema(example = "invalid_credentials")]
    pub code: String,
    /// The id that operators find the request by.
    #[schema(example = "0199f2b4-7a1c-7d3e-8f00-3b1f0c9d2e4a")]
    pub request_id: String,
    /// The offending fields.
    pub errors: Option<Vec<ProblemField>>,
    /// Seconds to wait before trying again.
    pub retry_after: Option<u64>,
    /// Whether solving a captcha would help.
    pub captcha_required: Option<bool>,
}

/// One field that a request got wrong.
#[derive(ToSchema)]
pub struct ProblemField {
    /// The field as the client wrote it.
    #[schema(example = "password")]
    pub field: String,
    /// The stable code.
    #[schema(example = "password_too_short")]
    pub code: String,
    /// A sentence for the user.
    pub detail: String,
    /// The least that would do.
    pub minimum: Option<u64>,
    /// The most that would do.
    pub maximum: Option<u64>,
}
