//! Stops asking a provider that does not answer.

use std::time::{Duration, Instant};

use parking_lot::Mutex;
use prometheus::IntGauge;

const FAILURES_TO_OPEN: u32 = 5;
const OPEN_FOR: Duration = Duration::from_secs(10);

/// A circuit breaker: five failures in a row stop all calls for ten seconds, then one call at a time tries whether the provider is back.
pub(super) struct Breaker {
    state: Mutex<State>,
    /// 1 while calls are let through.
    up: IntGauge,
}

#[derive(Clone, Copy)]
enum State {
    Closed { failures: u32 },
    Open { until: Instant },
    Probing,
}

/// A call that was let through. One that ends without a report, because its request went away, says nothing about the provider.
pub(super) struct Call<'a> {
    breaker: &'a Breaker,
    is_probe: bool,
    began: Instant,
    is_reported: bool,
}

impl Breaker {
    /// Closed; `up` shows the state.
    pub(super) fn new(up: IntGauge) -> Self {
        up.set(1);
        Self { state: Mutex::new(State::Closed { failures: 0 }), up }
    }

    /// Lets a call through, or not.
    pub(super) fn admit(&self, now: Instant) -> Option<Call<'_>> {
        let mut state = self.state.lock();
        let is_probe = match *state {
            State::Closed { .. } => false,
            State::Open { until } if now >= until => true,
            State::Open { .. } | State::Probing => return None,
        };
        if is_probe {
            *state = State::Probing;
        }
        Some(Call { breaker: self, is_probe, began: now, is_reported: false })
    }

    /// Whether it failed, and no probe has found it back.
    pub(super) fn is_open(&self) -> bool {
        !matches!(*self.state.lock(), State::Closed { .. })
    }

    fn enter(&self, state: &mut State, next: State) {
        self.up.set(i64::from(matches!(next, State::Closed { .. })));
        *state = next;
    }
}

impl Call<'_> {
    /// The provider answered.
    pub(super) fn succeeded(mut self) {
        self.is_reported = true;
        let mut state = self.breaker.state.lock();
        // A slow call from before the failures is no proof that they are over; the probe is.
        if self.is_probe || matches!(*state, State::Closed { .. }) {
            self.breaker.enter(&mut state, State::Closed { failures: 0 });
        }
    }

    /// The provider did not do its part.
    pub(super) fn failed(mut self, now: Instant) {
        self.is_reported = true;
        let mut state = self.breaker.state.lock();
        let failures = match *state {
            State::Closed { failures } => failures + 1,
            _ if self.is_probe => FAILURES_TO_OPEN,
            State::Open { .. } | State::Probing => return,
        };
        let next = if failures < FAILURES_TO_OPEN {
            State::Closed { failures }
        } else {
            State::Open { until: now + OPEN_FOR }
        };
        self.breaker.enter(&mut state, next);
    }
}

impl Drop for Call<'_> {
    fn drop(&mut self) {
        if self.is_probe && !self.is_reported {
            let mut state = self.breaker.state.lock();
            self.breaker.enter(&mut state, State::Open { until: self.began });
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn breaker() -> Breaker {
        Breaker::new(IntGauge::new("up", "Up.").unwrap())
    }

    fn fail(breaker: &Breaker, times: u32, now: Instant) {
        for _ in 0..times {
            breaker.admit(now).unwrap().failed(now);
        }
    }

    #[test]
    fn five_failures_in_a_row_open_it() {
        let (breaker, now) = (breaker(), Instant::now());
        fail(&breaker, FAILURES_TO_OPEN - 1, now);
        breaker.admit(now).unwrap().succeeded();
        fail(&breaker, FAILURES_TO_OPEN - 1, now);
        assert_eq!(breaker.up.get(), 1);
        fail(&breaker, 1, now);
        assert_eq!(breaker.up.get(), 0);
        assert!(breaker.admit(now + OPEN_FOR / 2).is_none());
        assert!(breaker.is_open());
    }

    #[test]
    fn one_probe_at_a_time_decides_whether_it_closes() {
        let (breaker, mut now) = (breaker(), Instant::now());
        let slow = breaker.admit(now).unwrap();
        fail(&breaker, FAILURES_TO_OPEN, now);
        slow.succeeded();
        assert!(breaker.admit(now).is_none(), "what began before the failures proves nothing");

        now += OPEN_FOR;
        let probe = breaker.admit(now).unwrap();
        assert!(breaker.admit(now).is_none());
        probe.failed(now);
        assert!(breaker.admit(now + OPEN_FOR / 2).is_none(), "open for another while");

        now += OPEN_FOR;
        drop(breaker.admit(now).unwrap());
        let probe = breaker.admit(now).expect("an abandoned probe leaves its place to the next");
        assert!(breaker.up.get() == 0 && breaker.is_open());
        probe.succeeded();
        assert!(!breaker.is_open());
        assert_eq!(breaker.up.get(), 1);
        assert!(breaker.admit(now).is_some() && breaker.admit(now).is_some());
    }

    #[test]
    fn calls_that_are_given_up_are_no_failures() {
        let (breaker, now) = (breaker(), Instant::now());
        for _ in 0..100 {
            drop(breaker.admit(now));
        }
        assert!(breaker.admit(now).is_some());
    }
}
