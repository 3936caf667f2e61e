use std::time::Duration;

use backon::{BackoffBuilder, ExponentialBackoff, ExponentialBuilder};

/// Growing pauses from 0.2 s to at most 5 s, without end. The jitter is up to as much again, so that replicas do not knock together.
pub(crate) struct Backoff(ExponentialBackoff);

impl Backoff {
    const LONGEST: Duration = Duration::from_millis(2_500);

    pub(crate) fn new() -> Self {
        let pauses = ExponentialBuilder::default()
            .with_min_delay(Duration::from_millis(200))
            .with_max_delay(Self::LONGEST)
            .with_jitter()
            .without_max_times();
        Self(pauses.build())
    }

    pub(crate) fn next_pause(&mut self) -> Duration {
        self.0.next().unwrap_or(Self::LONGEST)
    }
}
