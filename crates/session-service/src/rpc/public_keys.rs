use auth_proto::session::v1::{GetPublicKeysResponse, PublicKey};
use tonic::Status;

use super::{messages::timestamp, refuse};
use crate::{app::signing_keys::KeysUnavailable, domain::key_set::SigningKey, state::App};

pub async fn public_keys(app: &App) -> Result<GetPublicKeysResponse, Status> {
    let known = app.keys.for_signing().await;
    let keys: Vec<_> = known.published(app.now()).map(message).collect();
    // Whoever got an empty list would take every token for a forged one.
    if keys.is_empty() { Err(refuse(KeysUnavailable)) } else { Ok(GetPublicKeysResponse { keys }) }
}

fn message(key: &SigningKey) -> PublicKey {
    PublicKey {
        kid: key.id.to_string(),
        paserk: key.paserk(),
        not_before: Some(timestamp(key.not_before)),
        retire_at: key.retire_at.map(timestamp),
    }
}
