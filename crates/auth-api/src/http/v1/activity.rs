//! `GET /v1/auth/activity`

use actix_web::{HttpRequest, HttpResponse, get, web};
use chrono::{DateTime, Utc};
use serde::Serialize;
use utoipa::{IntoParams, ToSchema};

use crate::{
    app::activity::activity as read_activity,
    clients::audit::Activity,
    http::{ApiError, authenticated::Authenticated, edge_error::EdgeError, openapi::ProblemDocument},
    state::AppState,
};

const DEFAULT_LIMIT: u32 = 50;
const MAX_LIMIT: u32 = 100;

/// Where in the list.
#[derive(IntoParams)]
#[into_params(parameter_in = Query)]
#[expect(dead_code, reason = "describes the parameters in the OpenAPI document")]
pub struct ActivityQuery {
    /// Where the last page ended: its `nextCursor`.
    cursor: Option<String>,
    /// How many at most: 1 to 100.
    #[param(minimum = 1, maximum = 100, default = 50)]
    limit: Option<u32>,
}

/// What happened in one's own account.
#[derive(Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct ActivityPage {
    /// The newest first.
    items: Vec<ActivityItem>,
    /// Where to go on; none on the last page.
    next_cursor: Option<String>,
}

/// Something that happened.
#[derive(Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct ActivityItem {
    #[schema(example = "0199f2b4-7a1c-7d3e-8f00-3b1f0c9d2e4a")]
    id: String,
    /// `domain.action`, for example `auth.login`.
    #[schema(example = "auth.login")]
    r#type: String,
    occurred_at: DateTime<Utc>,
    /// `success`, `failure` or `denied`.
    #[schema(example = "success")]
    outcome: String,
    /// `info`, `warning` or `critical`.
    #[schema(example = "info")]
    severity: String,
    /// Why it did not come about, for outcomes other than `success`.
    #[schema(example = "wrong_password")]
    reason: Option<String>,
    #[schema(example = "203.0.113.9")]
    ip: Option<String>,
    user_agent: Option<String>,
}

/// What happened in one's own account, the newest first. What happened just now may take a moment to appear.
#[utoipa::path(tag = "accounts", params(ActivityQuery), security(("bearer" = [])), responses(
    (status = 200, body = ActivityPage),
    (status = 400, body = ProblemDocument, content_type = "application/problem+json"),
    (status = 401, body = ProblemDocument, content_type = "application/problem+json"),
    (status = 429, body = ProblemDocument, content_type = "application/problem+json"),
    (status = 503, body = ProblemDocument, content_type = "application/problem+json"),
))]
#[get("/v1/auth/activity")]
pub async fn activity(
    state: web::Data<AppState>,
    caller: Authenticated,
    request: HttpRequest,
) -> Result<HttpResponse, ApiError> {
    let (cursor, limit) = parse(request.query_string())?;
    let (events, next_cursor) = read_activity(&state, &caller.0, cursor.as_deref(), limit).await?;
    let items = events.into_iter().map(present).collect();
    Ok(HttpResponse::Ok().json(ActivityPage { items, next_cursor }))
}

fn parse(query: &str) -> Result<(Option<String>, u32), EdgeError> {
    let mut cursor = None;
    let mut limit = None;
    for (name, value) in url::form_urlencoded::parse(query.as_bytes()) {
        match &*name {
            "cursor" if cursor.is_none() => cursor = Some(value.into_owned()),
            "limit" if limit.is_none() => {
                let number = value.parse().ok().filter(|limit| (1..=MAX_LIMIT).contains(limit));
                limit = Some(number.ok_or_else(|| {
                    EdgeError::invalid("limit", "limit_invalid", "The limit is a number from 1 to 100.")
                })?);
            }
            "cursor" | "limit" => {
                return Err(EdgeError::invalid(
                    &name,
                    "duplicate_parameter",
                    "This parameter is given twice.",
                ));
            }
            _ => {
                let name: String = name.chars().take(100).collect();
                return Err(EdgeError::invalid(&name, "unknown_parameter", "This parameter is not known."));
            }
        }
    }
    Ok((cursor.filter(|cursor| !cursor.is_empty()), limit.unwrap_or(DEFAULT_LIMIT)))
}

fn present(event: Activity) -> ActivityItem {
    ActivityItem {
        id: event.id,
        r#type: event.kind,
        occurred_at: event.occurred_at,
        outcome: event.outcome,
        severity: event.severity,
        reason: event.reason,
        ip: event.ip,
        user_agent: event.user_agent,
    }
}
