use auth_proto::audit::v1::{Checkpoint, ListCheckpointsRequest, ListCheckpointsResponse};
use tonic::Status;

use super::{event::timestamp, status};
use crate::{
    app::{Notary, VerifyError},
    domain::{self, PageSize},
};

pub async fn list_checkpoints(
    notary: &Notary,
    request: &ListCheckpointsRequest,
) -> Result<ListCheckpointsResponse, Status> {
    let invalid = || status(&VerifyError::from(crate::app::RangeInvalid));
    let size = PageSize::parse(request.page_size).map_err(|_| invalid())?.rows();
    if request.before_seq < 0 {
        return Err(invalid());
    }
    let before = Some(request.before_seq).filter(|before| *before > 0);
    let (mut listed, archived) =
        notary.checkpoints(before, size + 1).await.map_err(|error| status(&error))?;
    let more = listed.len() > size;
    listed.truncate(size);
    let next = listed.last().filter(|_| more).map(|last| last.statement.seq);
    let checkpoints = listed.into_iter().map(|it| checkpoint(it, archived)).collect();
    Ok(ListCheckpointsResponse { checkpoints, next_before_seq: next.unwrap_or_default() })
}

fn checkpoint(checkpoint: domain::Checkpoint, archived: i64) -> Checkpoint {
    let domain::Checkpoint { statement, signature } = checkpoint;
    let last = statement.heads.into_values().find(|head| head.seq == statement.seq);
    Checkpoint {
        seq: statement.seq,
        hash: last.map(|head| head.hash).unwrap_or_default(),
        signed_at: Some(timestamp(statement.signed_at)),
        key_id: statement.key_id,
        signature,
        archived: statement.number <= archived,
    }
}
