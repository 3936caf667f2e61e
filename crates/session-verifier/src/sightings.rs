use std::time::Duration;

use access_tokens::SeenToken;
use auth_proto::session::v1::{Sighting, TouchRequest};
use chrono::{DateTime, Utc};
use tokio::{
    sync::mpsc::{self, Receiver, Sender},
    time::{MissedTickBehavior, interval},
};
use tonic::{Code, Request};
use tracing::{debug, warn};

use crate::{channel::Client, messages};

/// How often the use of one token is reported.
const NEWS_EVERY_SECONDS: i64 = 60;
const PERIOD: Duration = Duration::from_secs(1);
const DEADLINE: Duration = Duration::from_millis(800);
/// What session-service takes in one message.
const BATCH: usize = 500;
/// What may wait while session-service is away; what comes on top is not reported.
const WAITING: usize = 8192;

/// Takes note that tokens are in use.
pub(crate) struct Sightings(Sender<Sighting>);

pub(crate) fn queue() -> (Sightings, Receiver<Sighting>) {
    let (sender, receiver) = mpsc::channel(WAITING);
    (Sightings(sender), receiver)
}

impl Sightings {
    /// Never waits, and does next to nothing for a token that was noted within the last minute.
    pub fn note(&self, token: &SeenToken, now: DateTime<Utc>) {
        if !token.is_news(now, NEWS_EVERY_SECONDS) {
            return;
        }
        let sighting = Sighting {
            session_id: token.claims.sid.to_string(),
            token_id: token.claims.jti.to_string(),
            at: Some(messages::timestamp(now)),
        };
        // The next one comes in a minute.
        let _ = self.0.try_send(sighting);
    }
}

/// Reports what was seen, once a second, until it is dropped. What could not be reported is reported later.
pub(crate) async fn report(mut seen: Receiver<Sighting>, client: Client) {
    let mut pause = interval(PERIOD);
    pause.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let mut batch = Vec::new();
    loop {
        pause.tick().await;
        loop {
            while batch.len() < BATCH
                && let Ok(sighting) = seen.try_recv()
            {
                batch.push(sighting);
            }
            if batch.is_empty() || !send(&batch, &client).await {
                break;
            }
            batch.clear();
        }
    }
}

/// Whether the batch is done with.
async fn send(batch: &[Sighting], client: &Client) -> bool {
    let mut request = Request::new(TouchRequest { sightings: batch.to_vec() });
    request.set_timeout(DEADLINE);
    let Err(status) = client.clone().touch(request).await else { return true };
    let error = &status as &dyn std::error::Error;
    if matches!(status.code(), Code::Unavailable | Code::DeadlineExceeded | Code::Cancelled) {
        debug!(error, "The use of access tokens is reported later");
        return false;
    }
    warn!(error, "The use of access tokens cannot be reported");
    true
}
