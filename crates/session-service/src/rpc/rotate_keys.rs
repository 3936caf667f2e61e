use auth_proto::session::v1::{RotateKeysRequest, RotateKeysResponse};
use tonic::Status;

use super::{messages, public_keys, refuse};
use crate::{
    app::{
        facts,
        rotate_keys::{self, RotateKeys},
    },
    state::App,
};

pub async fn rotate_keys(
    app: &App,
    request: RotateKeysRequest,
    caller: String,
) -> Result<RotateKeysResponse, Status> {
    let RotateKeysRequest { drop_current, reason } = request;
    let reason = messages::parse_reason(reason)?;
    let request = RotateKeys { drop_current, reason, actor: facts::service(&caller) };
    let key = rotate_keys::rotate_keys(app, request).await.map_err(refuse)?;
    Ok(RotateKeysResponse { key: Some(public_keys::public_key(&key)) })
}
