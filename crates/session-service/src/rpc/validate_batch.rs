use auth_proto::session::v1::{ValidateBatchRequest, ValidateBatchResponse};
use tonic::Status;

use super::{invalid_request::InvalidRequest, validate};
use crate::state::App;

const MAX_TOKENS: usize = 100;

pub async fn validate_batch(app: &App, batch: ValidateBatchRequest) -> Result<ValidateBatchResponse, Status> {
    if !(1..=MAX_TOKENS).contains(&batch.requests.len()) {
        return Err(InvalidRequest::new("requests", "must be 1 to 100").into());
    }
    let mut responses = Vec::with_capacity(batch.requests.len());
    for request in batch.requests {
        responses.push(validate::validate(app, request).await?);
    }
    Ok(ValidateBatchResponse { responses })
}
