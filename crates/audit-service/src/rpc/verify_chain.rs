use std::{borrow::Cow, time::Duration};

use auth_proto::audit::v1::{Damage, VerifyChainRequest, VerifyChainResponse};
use service_error::{ErrorKind, ServiceError};
use tokio::time::Instant;
use tonic::Status;

use super::status;
use crate::app::{Notary, Range, Report, VerifyError};

/// Leaves room within the 800 ms that callers usually wait.
const BUDGET: Duration = Duration::from_millis(400);

pub async fn verify_chain(
    notary: &Notary,
    request: &VerifyChainRequest,
) -> Result<VerifyChainResponse, Status> {
    let range = Range::parse(request.from_seq, request.to_seq)
        .map_err(|invalid| status(&VerifyError::from(invalid)))?;
    let report = notary.verify(range, Some(Instant::now() + BUDGET)).await.map_err(|error| status(&error))?;
    Ok(response(report))
}

fn response(report: Report) -> VerifyChainResponse {
    VerifyChainResponse {
        from_seq: report.from_seq,
        to_seq: report.to_seq,
        events: report.rows,
        checkpoints: report.checkpoints,
        damage: report.damage.map(|damage| Damage {
            seq: damage.seq,
            kind: damage.kind.code().to_owned(),
            detail: damage.detail,
        }),
        next_seq: report.next_seq.unwrap_or_default(),
    }
}

impl ServiceError for VerifyError {
    fn kind(&self) -> ErrorKind {
        match self {
            Self::RangeInvalid(_) => ErrorKind::Malformed,
            Self::Database(error) if !error.is_transient() => ErrorKind::Internal,
            Self::Database(_) | Self::Archive(_) => ErrorKind::Unavailable,
            Self::Hashing(_) => ErrorKind::Internal,
        }
    }

    fn reason(&self) -> &'static str {
        match self {
            Self::RangeInvalid(_) => "range_invalid",
            Self::Database(error) if !error.is_transient() => "internal",
            Self::Database(_) | Self::Archive(_) => "unavailable",
            Self::Hashing(_) => "internal",
        }
    }

    fn public_detail(&self) -> Cow<'static, str> {
        match self {
            Self::RangeInvalid(invalid) => Cow::Owned(format!("{invalid}.")),
            _ => Cow::Borrowed(self.kind().title()),
        }
    }
}
