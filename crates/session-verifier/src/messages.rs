//! What travels, and what it means here.

use access_tokens::{ACCESS, AccessClaims, PublicKey, PublicKeys, Revocation, RevocationTarget, TokenScope};
use auth_ids::{GenericUuid, Uuid};
use auth_proto::session::v1 as proto;
use chrono::{DateTime, TimeDelta, Utc};
use prost_types::{Duration, Timestamp};
use tracing::warn;

/// The keys that can be read; one that cannot is trusted by nobody.
pub(crate) fn public_keys(message: Vec<proto::PublicKey>) -> PublicKeys {
    let key = |key: proto::PublicKey| {
        let read = not_before_and_retirement(&key).and_then(|(not_before, retire_at)| {
            PublicKey::from_paserk(&key.kid, &key.paserk, not_before, retire_at).ok()
        });
        if read.is_none() {
            warn!(key.id = key.kid, "A public key of session-service cannot be read");
        }
        read
    };
    PublicKeys::new(message.into_iter().filter_map(key).collect())
}

/// A key that retires at a time that cannot be read is not one that never retires.
fn not_before_and_retirement(key: &proto::PublicKey) -> Option<(DateTime<Utc>, Option<DateTime<Utc>>)> {
    let retire_at = match key.retire_at {
        Some(retire_at) => Some(time(Some(retire_at))?),
        None => None,
    };
    Some((time(key.not_before)?, retire_at))
}

pub(crate) fn revocation(message: &proto::Revocation) -> Option<Revocation> {
    let target = match message.target.as_ref()? {
        proto::revocation::Target::SessionId(id) => RevocationTarget::Session(uuid(id)?),
        proto::revocation::Target::UserEpoch(proto::UserEpoch { user_id, epoch }) => {
            RevocationTarget::UserBefore(uuid(user_id)?, *epoch)
        }
    };
    Some(Revocation { target, revoked_at: time(message.revoked_at)?, forget_at: time(message.forget_at)? })
}

fn uuid<T: GenericUuid>(bytes: &[u8]) -> Option<T> {
    Uuid::from_slice(bytes).ok().map(T::from_untyped_uuid)
}

/// What a token that we could not judge ourselves says.
pub(crate) fn claims(message: proto::Claims, scope: &TokenScope) -> Option<AccessClaims> {
    let iat = time(message.issued_at)?;
    Some(AccessClaims {
        iss: scope.issuer.clone(),
        sub: message.user_id.parse().ok()?,
        aud: scope.audience.clone(),
        iat,
        nbf: iat,
        exp: time(message.expires_at)?,
        jti: message.token_id.parse().ok()?,
        sid: message.session_id.parse().ok()?,
        typ: ACCESS.to_owned(),
        amr: message.amr,
        aal: u8::try_from(message.aal).ok()?,
        auth_time: time(message.auth_time)?,
        roles: message.roles,
        permissions: message.permissions,
        epoch: message.epoch,
    })
}

pub(crate) fn time(message: Option<Timestamp>) -> Option<DateTime<Utc>> {
    let Timestamp { seconds, nanos } = message?;
    DateTime::from_timestamp(seconds, u32::try_from(nanos).ok()?)
}

pub(crate) fn timestamp(time: DateTime<Utc>) -> Timestamp {
    // A fraction of a second always fits.
    Timestamp {
        seconds: time.timestamp(),
        nanos: i32::try_from(time.timestamp_subsec_nanos()).unwrap_or_default(),
    }
}

pub(crate) fn duration(duration: TimeDelta) -> Duration {
    Duration { seconds: duration.num_seconds(), nanos: duration.subsec_nanos() }
}
