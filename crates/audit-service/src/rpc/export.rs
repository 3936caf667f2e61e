use async_stream::try_stream;
use auth_proto::audit::v1::{
    ExportFormat as Format, ExportRequest, ExportResponse, ExportSummary, export_response::Part,
};
use futures::{StreamExt, stream::BoxStream};
use service_error::into_status;
use service_runtime::CancellationToken;
use tokio::sync::OwnedSemaphorePermit;
use tonic::Status;

use super::{criteria::criteria, status, stream_error::StreamError};
use crate::{
    app::{AuditLog, ExportPart, SearchError},
    domain::{ExportFormat, FilterInvalid},
};

pub type Export = BoxStream<'static, Result<ExportResponse, Status>>;

/// Begins an export. The log is read as fast as the caller takes it.
pub async fn export(
    log: &AuditLog,
    request: &ExportRequest,
    permit: OwnedSemaphorePermit,
    stopping: CancellationToken,
) -> Result<Export, Status> {
    let format = format(request.format).map_err(|error| status(&SearchError::from(error)))?;
    let criteria =
        criteria(request.filter.as_ref(), request.scope.as_ref()).map_err(|error| status(&error))?;
    let mut parts = Box::pin(log.export(&criteria, format).await.map_err(|error| status(&error))?);
    Ok(Box::pin(try_stream! {
        let _permit = permit;
        while let Some(part) = parts.next().await {
            if stopping.is_cancelled() {
                Err(into_status(&StreamError::Stopping))?;
            }
            yield message(part.map_err(|error| status(&error))?);
        }
    }))
}

fn format(format: i32) -> Result<ExportFormat, FilterInvalid> {
    match Format::try_from(format) {
        Ok(Format::Unspecified | Format::Csv) => Ok(ExportFormat::Csv),
        Ok(Format::Ndjson) => Ok(ExportFormat::Ndjson),
        Err(_) => Err(FilterInvalid { field: "format", why: "is not one that there is" }),
    }
}

fn message(part: ExportPart) -> ExportResponse {
    let part = match part {
        ExportPart::Chunk(bytes) => Part::Chunk(bytes),
        ExportPart::End(summary) => Part::Summary(ExportSummary {
            events: summary.events,
            up_to_seq: summary.up_to_seq,
            sha256: summary.sha256.to_vec(),
        }),
    };
    ExportResponse { part: Some(part) }
}
