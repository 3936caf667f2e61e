//! A pause after a failure, so that not everybody waits for what was away a moment ago.

use std::time::{Duration, Instant};

use parking_lot::Mutex;

const LENGTH: Duration = Duration::from_secs(1);

/// Whether something was away a moment ago.
#[derive(Debug, Default)]
pub struct Rest(Mutex<Option<Instant>>);

impl Rest {
    /// It failed at `now`. Whether that is news.
    pub fn begin(&self, now: Instant) -> bool {
        self.0.lock().replace(now + LENGTH).is_none()
    }

    /// It did not fail.
    pub fn end(&self) {
        self.0.lock().take();
    }

    /// Whether it is too early at `now` to try again.
    pub fn goes_on(&self, now: Instant) -> bool {
        self.0.lock().is_some_and(|until| now < until)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn after_a_failure_nobody_tries_for_a_second() {
        let (rest, now) = (Rest::default(), Instant::now());
        assert!(!rest.goes_on(now));
        assert!(rest.begin(now));
        assert!(rest.goes_on(now) && !rest.goes_on(now + LENGTH));
        assert!(!rest.begin(now + LENGTH), "it is still away");
        rest.end();
        assert!(!rest.goes_on(now) && rest.begin(now));
    }
}
