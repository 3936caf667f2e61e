//! Has the next signing key take over from those before it.

use std::time::Duration;

use auth_events::{Actor, Envelope, Fact, facts::SystemKeyRotated};
use chrono::{DateTime, SubsecRound, TimeDelta, Utc};
use clock::Clock;
use diesel_async::AsyncConnection;
use pg::Database;
use sealing::KeyRing;
use service_error::{ErrorKind, ServiceError};
use tracing::{info, warn};

use super::{
    database_error, facts,
    sealed_keys::{open_all, seal},
};
use crate::{
    SERVICE_NAME,
    domain::{
        key_rotation::Handover,
        key_set::{KeySet, SigningKey},
    },
    state::App,
    store::signing_keys,
};

/// Somebody's wish for another key.
pub struct RotateKeys {
    /// An emergency: the keys in use may be known to somebody else.
    pub drop_current: bool,
    /// For the audit log.
    pub reason: String,
    pub actor: Actor,
}

/// Why a key is made.
pub enum Occasion {
    /// There is none.
    NoKey,
    /// None is to sign for longer than this.
    Schedule(TimeDelta),
    Request(RotateKeys),
}

/// Why no key was made.
#[derive(Debug, thiserror::Error)]
pub enum RotateKeysError {
    #[error("the key {0} is published and has not begun to sign yet")]
    Pending(String),
    #[error(
        "none of the signing keys opens with SESSION_KEYS, and others might not open what is sealed here"
    )]
    NoneOpens,
    #[error("no key can be generated")]
    Generate(#[from] pasetors::errors::Error),
    #[error("the signing keys cannot be read or stored")]
    Database(#[from] pg::Error),
}

pg::leaves_transactions!(RotateKeysError);

impl ServiceError for RotateKeysError {
    fn kind(&self) -> ErrorKind {
        match self {
            Self::Pending(_) => ErrorKind::Conflict,
            Self::NoneOpens => ErrorKind::Unavailable,
            Self::Generate(_) => ErrorKind::Internal,
            Self::Database(error) => database_error::kind(error),
        }
    }

    fn reason(&self) -> &'static str {
        match self {
            Self::Pending(_) => "rotation_pending",
            Self::NoneOpens => "signing_key_unavailable",
            Self::Generate(_) => "internal",
            Self::Database(error) => database_error::reason(error),
        }
    }

    fn retry_after(&self) -> Option<Duration> {
        match self {
            Self::Database(error) => database_error::retry_after(error),
            Self::Pending(_) | Self::NoneOpens | Self::Generate(_) => None,
        }
    }
}

/// Makes the next key now. This replica knows it before it answers; the others are told.
#[tracing::instrument(name = "app.keys.rotate", skip_all, fields(drop_current = request.drop_current))]
pub async fn rotate_keys(app: &App, request: RotateKeys) -> Result<SigningKey, RotateKeysError> {
    let next = rotate(&app.database, &app.key_ring, &*app.clock, request).await?;
    app.wake.wake();
    // They look at the table, and find the key.
    app.feed.announce(vec![]);
    if let Err(error) = app.keys.load().await {
        // It is made all the same, and the next look finds it.
        warn!(error = &error as &dyn std::error::Error, "Signing keys cannot be loaded");
    }
    Ok(next)
}

/// The same without a service: replicas that run find the key within seconds.
pub async fn rotate(
    database: &Database,
    key_ring: &KeyRing,
    clock: &dyn Clock,
    request: RotateKeys,
) -> Result<SigningKey, RotateKeysError> {
    let next = make_next(database, key_ring, clock, &Occasion::Request(request)).await?;
    next.ok_or(RotateKeysError::NoneOpens)
}

/// Makes the next key if `occasion` gives reason to, while no other replica can.
pub async fn make_next(
    database: &Database,
    key_ring: &KeyRing,
    clock: &dyn Clock,
    occasion: &Occasion,
) -> Result<Option<SigningKey>, RotateKeysError> {
    let mut conn = database.connection().await?;
    let made = conn
        .transaction(async |conn| {
            signing_keys::lock(conn).await?;
            let keys = open_all(&signing_keys::all(conn).await?, key_ring);
            // Only now: waiting for the lock took time.
            let now = clock.now().trunc_subsecs(6);
            let Some(Handover { not_before, others_retire_at }) = occasion.handover(&keys, now)? else {
                return Ok::<_, RotateKeysError>(None);
            };
            let next = SigningKey::generate(not_before)?;
            signing_keys::retire_all(conn, others_retire_at).await?;
            signing_keys::insert(conn, &seal(&next, key_ring, now)).await?;
            outbox::append_fact(conn, occasion.fact(&next, &keys, now, clock)).await?;
            Ok(Some(next))
        })
        .await?;
    if let Some(next) = &made {
        info!("Made the signing key {}, which signs from {}", next.id, next.not_before);
    }
    Ok(made)
}

impl Occasion {
    /// When one key takes over from the others, if one is to be made.
    fn handover(&self, keys: &KeySet, now: DateTime<Utc>) -> Result<Option<Handover>, RotateKeysError> {
        let is_first = keys.published(now).next().is_none();
        match self {
            Self::NoKey => Ok(is_first.then(|| Handover::first(now))),
            Self::Schedule(period) => Ok(keys.is_rotation_due(now, *period).then(|| Handover::smooth(now))),
            // Also where nothing opens any more because the keys that sealed it are lost.
            Self::Request(request) if request.drop_current => Ok(Some(Handover::abrupt(now))),
            Self::Request(_) if is_first => Ok(Some(Handover::first(now))),
            Self::Request(_) => match (keys.pending(now), keys.signer(now)) {
                (Some(pending), _) => Err(RotateKeysError::Pending(pending.id.to_string())),
                (None, None) => Err(RotateKeysError::NoneOpens),
                (None, Some(_)) => Ok(Some(Handover::smooth(now))),
            },
        }
    }

    fn fact(
        &self,
        next: &SigningKey,
        others: &KeySet,
        now: DateTime<Utc>,
        clock: &dyn Clock,
    ) -> Envelope<Fact<SystemKeyRotated>> {
        let (actor, reason, drops) = match self {
            Self::NoKey => (facts::service(SERVICE_NAME), "first_key", false),
            Self::Schedule(_) => (facts::service(SERVICE_NAME), "scheduled", false),
            Self::Request(request) => (request.actor.clone(), request.reason.as_str(), request.drop_current),
        };
        let kid = next.id.to_string();
        let dropped = others.published(now).filter(|_| drops).map(|key| key.id.to_string()).collect();
        let detail = SystemKeyRotated { kid, signs_from: Some(next.not_before), dropped };
        facts::key_rotated(actor, detail, reason, clock)
    }
}
