//! `/v1/auth/me/export`

use actix_web::{HttpResponse, get, post, web};
use auth_ids::{DataExportId, GenericUuid};
use chrono::{DateTime, Utc};
use serde::Serialize;
use serde_json::Value;
use utoipa::ToSchema;
use uuid::Uuid;

use super::proof::ProofRequest;
use crate::{
    app::export_data::{self, ExportError},
    http::{
        ApiError, authenticated::AuthenticatedOnline, device_cookie::DeviceCookie, json::OptionalJson,
        openapi::ProblemDocument, request_client::RequestClient,
    },
    state::AppState,
    store::data_exports::DataExport,
};

/// A copy of one's data.
#[derive(Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct ExportResponse {
    id: Uuid,
    /// `pending` or `ready`.
    #[schema(example = "ready")]
    status: &'static str,
    created_at: DateTime<Utc>,
    /// When it is forgotten.
    expires_at: DateTime<Utc>,
    /// The account, its sessions, second factor, known browsers, changes of address and what happened in it; once it is ready.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<Object>, nullable = false)]
    document: Option<Value>,
}

fn present(export: &DataExport, document: Option<Value>) -> ExportResponse {
    ExportResponse {
        id: export.id.into_untyped_uuid(),
        status: if export.document.is_some() { "ready" } else { "pending" },
        created_at: export.created_at,
        expires_at: export.expires_at,
        document,
    }
}

/// Orders a copy of one's data. It needs a recent login or the password, and is ready within seconds.
#[utoipa::path(tag = "accounts", request_body(content = Option<ProofRequest>), security(("bearer" = [])), responses(
    (status = 202, body = ExportResponse),
    (status = 400, body = ProblemDocument, content_type = "application/problem+json"),
    (status = 401, body = ProblemDocument, content_type = "application/problem+json",
        description = "`reauth_required`: give the password, or reauthenticate first. `otp_required`: give a code too. `invalid_credentials`: the password is wrong."),
    (status = 413, body = ProblemDocument, content_type = "application/problem+json"),
    (status = 415, body = ProblemDocument, content_type = "application/problem+json"),
    (status = 422, body = ProblemDocument, content_type = "application/problem+json"),
    (status = 423, body = ProblemDocument, content_type = "application/problem+json"),
    (status = 429, body = ProblemDocument, content_type = "application/problem+json"),
    (status = 503, body = ProblemDocument, content_type = "application/problem+json"),
))]
#[post("/v1/auth/me/export")]
pub async fn order_export(
    state: web::Data<AppState>,
    client: RequestClient,
    caller: AuthenticatedOnline,
    device: DeviceCookie,
    OptionalJson(body): OptionalJson<ProofRequest>,
) -> Result<HttpResponse, ApiError> {
    let proof = body.unwrap_or_default().parse(device.0)?;
    let export = export_data::order(&state, &caller.0, proof, &client.0).await?;
    Ok(HttpResponse::Accepted().json(present(&export, None)))
}

/// A copy of one's data, once it is ready.
#[utoipa::path(tag = "accounts", security(("bearer" = [])),
    params(("id" = Uuid, Path, description = "The copy.")),
    responses(
    (status = 200, body = ExportResponse),
    (status = 401, body = ProblemDocument, content_type = "application/problem+json"),
    (status = 404, body = ProblemDocument, content_type = "application/problem+json",
        description = "`export_not_found`: there is none, or it was forgotten after a day."),
    (status = 429, body = ProblemDocument, content_type = "application/problem+json"),
    (status = 503, body = ProblemDocument, content_type = "application/problem+json"),
))]
#[get("/v1/auth/me/export/{id}")]
pub async fn fetch_export(
    state: web::Data<AppState>,
    caller: AuthenticatedOnline,
    id: web::Path<String>,
) -> Result<HttpResponse, ApiError> {
    let id = Uuid::parse_str(&id).map_err(|_| ExportError::NotFound)?;
    let (export, document) =
        export_data::fetch(&state, &caller.0, DataExportId::from_untyped_uuid(id)).await?;
    Ok(HttpResponse::Ok().json(present(&export, document)))
}
