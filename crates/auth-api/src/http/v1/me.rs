//! `GET /v1/auth/me`

use actix_web::{HttpResponse, Responder, get, web};
use chrono::{DateTime, Utc};
use serde::Serialize;
use utoipa::ToSchema;
use uuid::Uuid;

use crate::{
    app::me::me as read_account,
    clients::sessions::Claims,
    domain::{
        permission::permissions_of,
        user::{User, UserStatus},
    },
    http::{ApiError, authenticated::Authenticated, openapi::ProblemDocument},
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
    (status = 503, body = ProblemDocument, content_type = "application/problem+json"),
))]
#[get("/v1/auth/me")]
pub async fn me(state: web::Data<AppState>, caller: Authenticated) -> Result<impl Responder, ApiError> {
    let user = read_account(&state, &caller.0).await?;
    Ok(HttpResponse::Ok().json(present(user, &caller.0)))
}

fn present(user: User, claims: &Claims) -> Me {
    Me {
        id: user.id.into_untyped_uuid(),
        email: user.email.as_str().to_owned(),
        email_verified: user.status != UserStatus::Unverified,
        display_name: user.display_name,
        locale: user.locale.tag(),
        status: user.status.name(),
        permissions: permissions_of(&user.roles),
        roles: user.roles,
        mfa_enabled: false,
        session_id: claims.session_id.into_untyped_uuid(),
        aal: claims.aal,
        authenticated_at: claims.authenticated_at,
        created_at: user.created_at,
    }
}
