use std::{future::pending, time::Duration};

use actix_web::{
    Error, HttpMessage,
    body::MessageBody,
    dev::{ServiceRequest, ServiceResponse},
    middleware::Next,
};
use tokio::{
    sync::watch,
    time::{Instant, sleep_until},
};

use super::{ApiError, edge_error::EdgeError};

/// How long we may work on a request: from its head, or from the end of its body where a handler reads one, to the head of the answer.
const WORK: Duration = Duration::from_secs(3);

/// Gives up a request that is worked on for longer than three seconds. The time in which the client sends is not ours: the head has its own deadline of five
/// seconds and the body one of ten, and both are over before work begins. What was begun is dropped; a transaction among it is rolled back.
pub async fn deadline<B: MessageBody>(
    request: ServiceRequest,
    next: Next<B>,
) -> Result<ServiceResponse<B>, Error> {
    let (clock, ends) = WorkClock::start();
    request.extensions_mut().insert(clock);
    tokio::select! {
        biased;
        answer = next.call(request) => answer,
        () = passed(ends) => Err(ApiError::from(EdgeError::DeadlineExceeded).into()),
    }
}

/// Whoever reads a body stops the clock, and restarts it when the body is there.
#[derive(Clone)]
pub struct WorkClock(watch::Sender<Option<Instant>>);

impl WorkClock {
    fn start() -> (Self, watch::Receiver<Option<Instant>>) {
        let (ends, receiver) = watch::channel(Some(Instant::now() + WORK));
        (Self(ends), receiver)
    }

    /// Nobody works: the client sends.
    pub fn stop(&self) {
        self.0.send_replace(None);
    }

    /// Work begins, with all of its time.
    pub fn restart(&self) {
        self.0.send_replace(Some(Instant::now() + WORK));
    }
}

async fn passed(mut ends: watch::Receiver<Option<Instant>>) {
    loop {
        let end = *ends.borrow_and_update();
        let changed = tokio::select! {
            () = at(end) => return,
            changed = ends.changed() => changed,
        };
        if changed.is_err() {
            return at(end).await;
        }
    }
}

async fn at(end: Option<Instant>) {
    match end {
        Some(end) => sleep_until(end).await,
        None => pending().await,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn the_time_in_which_the_client_sends_does_not_count() {
        let (clock, ends) = WorkClock::start();
        let begun = Instant::now();
        let passed = passed(ends);
        tokio::pin!(passed);
        tokio::select! { () = &mut passed => panic!(), () = tokio::time::sleep(Duration::from_secs(2)) => clock.stop() }
        tokio::select! { () = &mut passed => panic!(), () = tokio::time::sleep(Duration::from_secs(9)) => clock.restart() }
        passed.await;
        assert_eq!(begun.elapsed(), Duration::from_secs(2 + 9 + 3));
    }
}
