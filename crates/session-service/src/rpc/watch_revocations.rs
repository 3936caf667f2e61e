//! The stream of revocations: what is known, then what happens, and a heartbeat while this replica can know of it.

use std::{sync::Arc, time::Duration};

use access_tokens::{Revocation, RevocationTarget};
use async_stream::try_stream;
use auth_ids::GenericUuid;
use auth_proto::session::v1::{
    self as proto, Heartbeat, RevocationBatch, RevocationSnapshot, UserEpoch, WatchRevocationsResponse,
    revocation::Target, watch_revocations_response::Event,
};
use chrono::{DateTime, TimeDelta, Utc};
use futures::stream::BoxStream;
use service_error::{ErrorKind, ServiceError};
use tokio::{
    sync::{OwnedSemaphorePermit, broadcast::error::RecvError, watch},
    time::{MissedTickBehavior, interval},
};
use tokio_util::sync::CancellationToken;
use tonic::Status;

use super::{messages::timestamp, public_keys};
use crate::{domain::key_set::KeySet, state::App};

pub type Watch = BoxStream<'static, Result<WatchRevocationsResponse, Status>>;

const HEARTBEAT: Duration = Duration::from_secs(1);
/// Revocations in one message; each has less than 80 bytes.
const PART: usize = 1000;
/// Tokens older than this may be judged by `Validate` only: it is added to how long a token lives, for clocks that differ.
const SLACK: TimeDelta = TimeDelta::minutes(1);

/// So much more is told than is promised: PostgreSQL's own clock may have been set since a revocation was written down.
const DIFFERENCE: TimeDelta = TimeDelta::minutes(2);

/// Why nobody can watch, or not any more.
#[derive(Debug, thiserror::Error)]
enum WatchError {
    #[error("there are too many watchers")]
    TooMany,
    #[error("this replica does not know yet what was revoked")]
    NotCurrent,
    #[error("the watcher does not keep up")]
    TooSlow,
    #[error("this replica stops")]
    Stopping,
}

impl ServiceError for WatchError {
    fn kind(&self) -> ErrorKind {
        match self {
            Self::TooMany => ErrorKind::TooManyRequests,
            Self::NotCurrent | Self::TooSlow | Self::Stopping => ErrorKind::Unavailable,
        }
    }

    fn reason(&self) -> &'static str {
        match self {
            Self::TooMany => "too_many_watchers",
            Self::NotCurrent => "database_unavailable",
            Self::TooSlow => "watcher_too_slow",
            Self::Stopping => "stopping",
        }
    }
}

/// Begins to tell a watcher. What it does not take is dropped, and it has to begin again: nothing is kept for it.
pub fn watch_revocations(app: Arc<App>, stopping: CancellationToken) -> Result<Watch, Status> {
    let permit = Arc::clone(&app.watchers)
        .try_acquire_owned()
        .map_err(|_| service_error::into_status(&WatchError::TooMany))?;
    if !app.feed.is_current() {
        return Err(service_error::into_status(&WatchError::NotCurrent));
    }
    Ok(Box::pin(tell(app, stopping, permit)))
}

fn tell(
    app: Arc<App>,
    stopping: CancellationToken,
    permit: OwnedSemaphorePermit,
) -> impl futures::Stream<Item = Result<WatchRevocationsResponse, Status>> {
    try_stream! {
        let _permit = permit;
        let mut keys = app.keys.changes();
        let (mut news, known) = app.feed.watch(covers_since(&app) - DIFFERENCE);
        yield event(published(&mut keys, &app));
        for part in parts(&known, covers_since(&app)) {
            yield event(Event::Snapshot(part));
        }
        let mut heartbeat = interval(HEARTBEAT);
        heartbeat.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            let next = tokio::select! {
                biased;
                () = stopping.cancelled() => Err(WatchError::Stopping),
                revoked = news.recv() => match revoked {
                    Ok(revocations) => Ok(Some(Event::Revoked(batch(&revocations)))),
                    Err(RecvError::Lagged(_)) => Err(WatchError::TooSlow),
                    Err(RecvError::Closed) => Err(WatchError::Stopping),
                },
                changed = keys.changed() => match changed {
                    Ok(()) => Ok(Some(published(&mut keys, &app))),
                    Err(_) => Err(WatchError::Stopping),
                },
                _ = heartbeat.tick() => Ok(app.feed.is_current().then(|| Event::Heartbeat(pulse(&app)))),
            };
            if let Some(next) = next.map_err(|error| service_error::into_status(&error))? {
                yield event(next);
            }
        }
    }
}

fn published(keys: &mut watch::Receiver<Arc<KeySet>>, app: &App) -> Event {
    Event::Keys(public_keys::message(&keys.borrow_and_update(), app.now()))
}

/// Older tokens are a matter for `Validate`.
fn covers_since(app: &App) -> DateTime<Utc> {
    app.now() - app.token_ttl - SLACK
}

fn pulse(app: &App) -> Heartbeat {
    Heartbeat { at: Some(timestamp(app.now())), covers_since: Some(timestamp(covers_since(app))) }
}

/// At least one part, the last of which says so.
fn parts(known: &[Revocation], covers_since: DateTime<Utc>) -> Vec<RevocationSnapshot> {
    let part = |revocations: &[Revocation], complete| RevocationSnapshot {
        revocations: revocations.iter().map(message).collect(),
        covers_since: Some(timestamp(covers_since)),
        complete,
    };
    let mut parts: Vec<_> = known.chunks(PART).map(|revocations| part(revocations, false)).collect();
    match parts.last_mut() {
        Some(last) => last.complete = true,
        None => parts.push(part(&[], true)),
    }
    parts
}

fn batch(revocations: &[Revocation]) -> RevocationBatch {
    RevocationBatch { revocations: revocations.iter().map(message).collect() }
}

fn message(revocation: &Revocation) -> proto::Revocation {
    let target = match revocation.target {
        RevocationTarget::Session(id) => Target::SessionId(id.as_untyped_uuid().as_bytes().to_vec()),
        RevocationTarget::UserBefore(id, epoch) => {
            Target::UserEpoch(UserEpoch { user_id: id.as_untyped_uuid().as_bytes().to_vec(), epoch })
        }
    };
    proto::Revocation {
        target: Some(target),
        revoked_at: Some(timestamp(revocation.revoked_at)),
        forget_at: Some(timestamp(revocation.forget_at)),
    }
}

fn event(event: Event) -> WatchRevocationsResponse {
    WatchRevocationsResponse { event: Some(event) }
}
