//! `/v1/auth/me`: read and change one's profile

use actix_web::{HttpResponse, Responder, get, patch, web};
use auth_events::commands::Locale;
use chrono::{DateTime, Utc};
use serde::{Deserialize, Deserializer, Serialize};
use session_verifier::Session;
use utoipa::ToSchema;
use uuid::Uuid;

use crate::{
    app::{
        me::me as read_account,
        update_profile::{ProfileChange, update_profile as change_profile},
    },
    domain::{account::Account, display_name::DisplayName, permission::permissions_of, user::UserStatus},
    http::{
        ApiError,
        authenticated::{Authenticated, AuthenticatedUnconfirmed},
        edge_error::EdgeError,
        json::ValidJson,
        openapi::ProblemDocument,
        request_client::RequestClient,
    },
    state::AppState,
};
use auth_ids::GenericUuid;

/// One's own account, and the session that asks.
#[derive(Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct Me {
    id: Uuid,
    #[schema(example = "ada@example.com")]
    email: String,
    email_verified: bool,
    #[schema(example = "Ada")]
    display_name: Option<String>,
    /// The language of mails.
    #[schema(example = "en")]
    locale: &'static str,
    #[schema(example = "active")]
    status: &'static str,
    #[schema(example = json!(["user"]))]
    roles: Vec<String>,
    permissions: Vec<String>,
    /// Whether a second factor protects the account.
    mfa_enabled: bool,
    /// The session that asks.
    session_id: Uuid,
    /// Its authenticator assurance level.
    #[schema(example = 1)]
    aal: u32,
    /// When its user authenticated.
    authenticated_at: DateTime<Utc>,
    created_at: DateTime<Utc>,
}

/// One's own account.
#[utoipa::path(tag = "accounts", security(("bearer" = [])), responses(
    (status = 200, body = Me),
    (status = 401, body = ProblemDocument, content_type = "application/problem+json"),
    (status = 429, body = ProblemDocument, content_type = "application/problem+json"),
    (status = 503, body = ProblemDocument, content_type = "application/problem+json"),
))]
#[get("/v1/auth/me")]
pub async fn me(
    state: web::Data<AppState>,
    caller: AuthenticatedUnconfirmed,
) -> Result<impl Responder, ApiError> {
    let account = read_account(&state, &caller.0).await?;
    Ok(HttpResponse::Ok().json(present(&account, &caller.0)))
}

/// A change of one's profile; what is absent stays.
#[derive(Deserialize, ToSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
#[expect(clippy::option_option, reason = "absent, null and a name are three things")]
pub struct ProfileRequest {
    /// How to be greeted, 1 to 100 characters; `null` for no name.
    #[serde(default, deserialize_with = "given")]
    #[schema(value_type = Option<String>, example = "Ada")]
    display_name: Option<Option<String>>,
    /// BCP 47 tag of the language of mails.
    #[schema(example = "de", nullable = false)]
    locale: Option<String>,
}

/// Tells `null` from what is absent.
#[expect(clippy::option_option, reason = "absent, null and a name are three things")]
fn given<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<Option<String>>, D::Error> {
    Option::deserialize(deserializer).map(Some)
}

/// Changes one's profile.
#[utoipa::path(tag = "accounts", request_body = ProfileRequest, security(("bearer" = [])), responses(
    (status = 200, body = Me),
    (status = 400, body = ProblemDocument, content_type = "application/problem+json"),
    (status = 401, body = ProblemDocument, content_type = "application/problem+json"),
    (status = 413, body = ProblemDocument, content_type = "application/problem+json"),
    (status = 415, body = ProblemDocument, content_type = "application/problem+json"),
    (status = 429, body = ProblemDocument, content_type = "application/problem+json"),
    (status = 503, body = ProblemDocument, content_type = "application/problem+json"),
))]
#[patch("/v1/auth/me")]
pub async fn update_profile(
    state: web::Data<AppState>,
    client: RequestClient,
    caller: Authenticated,
    ValidJson(body): ValidJson<ProfileRequest>,
) -> Result<impl Responder, ApiError> {
    let change = parse(body)?;
    let account = change_profile(&state, &caller.0, change, &client.0).await?;
    Ok(HttpResponse::Ok().json(present(&account, &caller.0)))
}

fn parse(body: ProfileRequest) -> Result<ProfileChange, EdgeError> {
    let display_name = body.display_name.map(|name| name.as_deref().map(DisplayName::parse).transpose());
    let display_name = display_name.transpose().map_err(|_| {
        EdgeError::invalid("displayName", "display_name_invalid", "Use 1 to 100 printable characters.")
    })?;
    let locale = body.locale.map(|tag| {
        Locale::from_tag(&tag)
            .ok_or_else(|| EdgeError::invalid("locale", "locale_unknown", "Mails are written in: en, de."))
    });
    Ok(ProfileChange { display_name, locale: locale.transpose()? })
}

fn present(account: &Account, caller: &Session) -> Me {
    Me {
        id: account.id.into_untyped_uuid(),
        email: account.email.as_str().to_owned(),
        email_verified: account.status != UserStatus::Unverified,
        display_name: account.display_name.clone(),
        locale: account.locale.tag(),
        status: account.status.name(),
        roles: account.roles.clone(),
        permissions: permissions_of(&account.roles),
        mfa_enabled: account.mfa_enabled,
        session_id: caller.session_id().into_untyped_uuid(),
        aal: caller.aal().into(),
        authenticated_at: caller.authenticated_at(),
        created_at: account.created_at,
    }
}
