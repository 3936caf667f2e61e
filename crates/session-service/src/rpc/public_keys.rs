use auth_proto::session::v1::{GetPublicKeysResponse, PublicKey};

use super::messages::timestamp;
use crate::{domain::key_set::SigningKey, state::App};

pub async fn public_keys(app: &App) -> GetPublicKeysResponse {
    let keys = app.keys.for_signing().await;
    GetPublicKeysResponse { keys: keys.published(app.now()).map(message).collect() }
}

fn message(key: &SigningKey) -> PublicKey {
    PublicKey {
        kid: key.id.to_string(),
        paserk: key.paserk(),
        not_before: Some(timestamp(key.not_before)),
        retire_at: key.retire_at.map(timestamp),
    }
}
