use std::time::Duration;

use parking_lot::Mutex;
use tokio::time::Instant;

/// How long nobody asks after a failure. Long enough that hardly a request waits for a Redis that is away, short enough that one that is back
/// is noticed.
const REST: Duration = Duration::from_secs(1);

/// Keeps requests from waiting for something that was away a moment ago.
#[derive(Debug)]
pub(crate) struct Breaker(Mutex<State>);

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum State {
    Closed,
    Open { probe_at: Instant },
}

/// Leave to ask.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Permit {
    Ordinary,
    /// The one that finds out whether it is back.
    Probe,
}

impl Breaker {
    /// Closed: nothing is known to be away.
    pub(crate) fn new() -> Self {
        Self(Mutex::new(State::Closed))
    }

    pub(crate) fn permit(&self, now: Instant) -> Option<Permit> {
        let mut state = self.0.lock();
        match *state {
            State::Closed => Some(Permit::Ordinary),
            State::Open { probe_at } if now >= probe_at => {
                // A probe whose caller went away is followed by another without anybody saying so.
                *state = State::Open { probe_at: now + REST };
                Some(Permit::Probe)
            }
            State::Open { .. } => None,
        }
    }

    /// Says whether that was the end of an absence. An answer to who asked before the absence began proves nothing.
    pub(crate) fn succeeded(&self, permit: Permit) -> bool {
        permit == Permit::Probe && std::mem::replace(&mut *self.0.lock(), State::Closed) != State::Closed
    }

    /// Says whether that was the beginning of an absence.
    pub(crate) fn failed(&self, now: Instant) -> bool {
        std::mem::replace(&mut *self.0.lock(), State::Open { probe_at: now + REST }) == State::Closed
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn while_it_is_away_one_asks_each_second() {
        let breaker = Breaker::new();
        let start = Instant::now();
        assert_eq!(breaker.permit(start), Some(Permit::Ordinary));
        assert!(breaker.failed(start), "the first failure begins the absence");
        assert!(!breaker.failed(start), "the second does not");
        assert_eq!(breaker.permit(start + REST / 2), None);
        assert!(!breaker.succeeded(Permit::Ordinary), "a late answer does not end it");

        let later = start + REST;
        assert_eq!(breaker.permit(later), Some(Permit::Probe));
        assert_eq!(breaker.permit(later), None);
        // The first probe was never heard of again.
        assert_eq!(breaker.permit(later + REST), Some(Permit::Probe));
        assert!(breaker.succeeded(Permit::Probe));
        assert_eq!(breaker.permit(later + REST), Some(Permit::Ordinary));
    }
}
