use auth_proto::session::v1::{GetPublicKeysResponse, PublicKey};
use chrono::{DateTime, Utc};
use tonic::Status;

use super::{messages::timestamp, refuse};
use crate::{
    app::signing_keys::KeysUnavailable,
    domain::key_set::{KeySet, SigningKey},
    state::App,
};

pub async fn public_keys(app: &App) -> Result<GetPublicKeysResponse, Status> {
    let answer = message(&*app.keys.for_signing().await, app.now());
    // Whoever got an empty list would take every token for a forged one.
    if answer.keys.is_empty() { Err(refuse(KeysUnavailable)) } else { Ok(answer) }
}

/// The keys that verifiers should know.
pub fn message(keys: &KeySet, now: DateTime<Utc>) -> GetPublicKeysResponse {
    GetPublicKeysResponse { keys: keys.published(now).map(public_key).collect() }
}

pub fn public_key(key: &SigningKey) -> PublicKey {
    PublicKey {
        kid: key.id.to_string(),
        paserk: key.paserk(),
        not_before: Some(timestamp(key.not_before)),
        retire_at: key.retire_at.map(timestamp),
    }
}
