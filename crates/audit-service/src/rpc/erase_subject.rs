use std::borrow::Cow;

use auth_ids::Uuid;
use auth_proto::audit::v1::{EraseSubjectRequest, EraseSubjectResponse};
use clock::SystemClock;
use service_error::{ErrorKind, ServiceError};
use service_runtime::grpc::Caller;
use tonic::Status;

use super::{event::timestamp, status};
use crate::app::{AuditLog, Erasure, erasing_actor};

const MAX_REASON_BYTES: usize = 64;

pub async fn erase_subject(
    log: &AuditLog,
    request: &EraseSubjectRequest,
    caller: &Caller,
) -> Result<EraseSubjectResponse, Status> {
    let erasure = parse(request, &caller.name()).map_err(|invalid| status(&invalid))?;
    let erased = log.erase(&erasure, &SystemClock).await.map_err(|error| status(&error))?;
    Ok(EraseSubjectResponse { erased_at: Some(timestamp(erased.at)), changed: erased.changed })
}

fn parse(request: &EraseSubjectRequest, caller: &str) -> Result<Erasure, RequestInvalid> {
    let uuid = |text: &str| text.parse::<Uuid>().ok().filter(|id| !id.is_nil());
    let subject = uuid(&request.subject_id).ok_or(RequestInvalid::Subject)?;
    let actor = if request.actor_id.is_empty() {
        None
    } else {
        Some(uuid(&request.actor_id).ok_or(RequestInvalid::Actor)?)
    };
    let is_code = (1..=MAX_REASON_BYTES).contains(&request.reason.len())
        && request
            .reason
            .bytes()
            .all(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'_');
    if !is_code {
        return Err(RequestInvalid::Reason);
    }
    Ok(Erasure { subject, actor: erasing_actor(caller, actor), reason: request.reason.clone() })
}

/// A request that makes no sense.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
enum RequestInvalid {
    #[error("subject_id is not the id of a user")]
    Subject,
    #[error("actor_id is not the id of a user")]
    Actor,
    #[error("reason is not a code in snake_case")]
    Reason,
}

impl ServiceError for RequestInvalid {
    fn kind(&self) -> ErrorKind {
        ErrorKind::Malformed
    }

    fn reason(&self) -> &'static str {
        match self {
            Self::Subject | Self::Actor => "subject_invalid",
            Self::Reason => "reason_invalid",
        }
    }

    fn public_detail(&self) -> Cow<'static, str> {
        Cow::Owned(format!("{self}."))
    }
}
