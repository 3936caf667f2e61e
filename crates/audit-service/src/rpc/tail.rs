use std::sync::Arc;

use async_stream::try_stream;
use auth_proto::audit::v1::{TailRequest, TailResponse};
use futures::{Stream, stream::BoxStream};
use service_error::into_status;
use service_runtime::CancellationToken;
use tokio::{
    sync::{OwnedSemaphorePermit, broadcast::error::RecvError},
    time::Instant,
};
use tonic::Status;

use super::{criteria::criteria, event::event, status, stream_error::StreamError};
use crate::{
    app::{AuditLog, SearchError},
    domain::{Criteria, FilterInvalid, RecordedEvent},
    tail::{News, SIGN_OF_LIFE, Tail},
};

pub type Following = BoxStream<'static, Result<TailResponse, Status>>;

/// Begins to tell a follower. What it does not take in time is not kept for it.
pub async fn tail(
    log: AuditLog,
    tail: Tail,
    request: &TailRequest,
    permit: OwnedSemaphorePermit,
    stopping: CancellationToken,
) -> Result<Following, Status> {
    let criteria =
        criteria(request.filter.as_ref(), request.scope.as_ref()).map_err(|error| status(&error))?;
    if let Some(after) = request.after_seq {
        check(&log, after).await.map_err(|error| status(&error))?;
    }
    let follower = Follower { log, criteria, position: request.after_seq };
    Ok(Box::pin(follower.follow(tail, permit, stopping)))
}

/// A log that ends before where a follower was is another one, such as an old backup.
async fn check(log: &AuditLog, after: i64) -> Result<(), SearchError> {
    if after < 0 || after > log.last_seq().await? {
        return Err(FilterInvalid { field: "after_seq", why: "is not in the log" }.into());
    }
    Ok(())
}

struct Follower {
    log: AuditLog,
    criteria: Criteria,
    /// Up to here it was told everything; `None` before the first news.
    position: Option<i64>,
}

impl Follower {
    fn follow(
        mut self,
        tail: Tail,
        permit: OwnedSemaphorePermit,
        stopping: CancellationToken,
    ) -> impl Stream<Item = Result<TailResponse, Status>> {
        try_stream! {
            let _permit = permit;
            let mut followed = tail.follow();
            let mut told = Instant::now();
            loop {
                let news = tokio::select! {
                    biased;
                    () = stopping.cancelled() => Err(StreamError::Stopping),
                    news = followed.recv() => news.map_err(|error| match error {
                        RecvError::Lagged(_) => StreamError::TooSlow,
                        RecvError::Closed => StreamError::Stopping,
                    }),
                };
                let news = news.map_err(|error| into_status(&error))?;
                let position = self.position.unwrap_or(news.after);
                if position < news.after {
                    // What was recorded before the news began.
                    let mut reading = self.log.read(&self.criteria, position, news.after).await.map_err(|error| status(&error))?;
                    while let Some(events) = reading.next().await.map_err(|error| status(&error))? {
                        if stopping.is_cancelled() {
                            Err(into_status(&StreamError::Stopping))?;
                        }
                        yield response(events, reading.position());
                    }
                    self.position = Some(news.after);
                    // What came meanwhile may be more than is kept; it is read from where this ended.
                    followed = followed.resubscribe();
                    continue;
                }
                let events = self.of(&news, position);
                let is_sign_of_life = news.events.is_empty() || told.elapsed() >= SIGN_OF_LIFE;
                let position = position.max(news.up_to);
                self.position = Some(position);
                if is_sign_of_life || !events.is_empty() {
                    yield response(events, position);
                    told = Instant::now();
                }
            }
        }
    }

    /// What of the news is for this follower.
    fn of(&self, news: &Arc<News>, position: i64) -> Vec<RecordedEvent> {
        let new = news.events.iter().filter(|event| event.seq > position && self.criteria.matches(event));
        new.map(|event| self.criteria.scope().redact(event.clone())).collect()
    }
}

fn response(events: Vec<RecordedEvent>, up_to_seq: i64) -> TailResponse {
    TailResponse { events: events.into_iter().map(event).collect(), up_to_seq }
}
