use std::sync::Arc;

use chrono::{DateTime, TimeDelta, Utc};
use clock::SharedClock;
use parking_lot::Mutex;
use prometheus::{Gauge, core::Collector, proto::MetricFamily};

/// How long the age of the last batch is shown after it was done. Long enough to bridge the gap between two batches of a
/// backlog, so that the metric does not flicker; short enough to be over by the next scrape.
const AFTERGLOW: TimeDelta = TimeDelta::seconds(5);

/// `audit_lag_seconds`: the age of the oldest event that is in hand and not recorded yet, computed when it is scraped, so that
/// it grows while the database is away. Clones are the same lag.
#[derive(Clone)]
pub struct Lag {
    state: Arc<Mutex<State>>,
    clock: SharedClock,
    gauge: Gauge,
}

#[derive(Clone, Copy)]
enum State {
    Idle,
    InHand { oldest: DateTime<Utc> },
    Done { age: TimeDelta, at: DateTime<Utc> },
}

impl Lag {
    pub fn new(clock: SharedClock) -> prometheus::Result<Self> {
        let gauge = Gauge::new("audit_lag_seconds", "Age of the oldest event that waits to be recorded.")?;
        Ok(Self { state: Arc::new(Mutex::new(State::Idle)), clock, gauge })
    }

    /// Events are in hand, the oldest of them from `oldest`. They stay in hand until [`Lag::done`], however often that is tried.
    pub fn take(&self, oldest: DateTime<Utc>) {
        *self.state.lock() = State::InHand { oldest };
    }

    /// What was in hand is recorded.
    pub fn done(&self) {
        let mut state = self.state.lock();
        if let State::InHand { oldest } = *state {
            let at = self.clock.now();
            *state = State::Done { age: at - oldest, at };
        }
    }

    fn seconds(&self) -> f64 {
        let now = self.clock.now();
        let lag = match *self.state.lock() {
            State::InHand { oldest } => now - oldest,
            State::Done { age, at } if now - at < AFTERGLOW => age,
            State::Done { .. } | State::Idle => TimeDelta::zero(),
        };
        // A producer's clock may be ahead of ours.
        lag.max(TimeDelta::zero()).as_seconds_f64()
    }
}

impl Collector for Lag {
    fn desc(&self) -> Vec<&prometheus::core::Desc> {
        self.gauge.desc()
    }

    fn collect(&self) -> Vec<MetricFamily> {
        self.gauge.set(self.seconds());
        self.gauge.collect()
    }
}

#[cfg(test)]
mod tests {
    use clock::{Clock, ManualClock};

    use super::*;

    #[test]
    fn the_lag_grows_while_events_are_in_hand_and_ends_soon_after() {
        let clock = Arc::new(ManualClock::new(DateTime::UNIX_EPOCH));
        let lag = Lag::new(clock.clone()).unwrap();
        assert!(lag.seconds() < 0.001);
        lag.take(clock.now());
        clock.advance(TimeDelta::seconds(60));
        assert!((lag.seconds() - 60.0).abs() < 0.001);
        lag.done();
        clock.advance(TimeDelta::seconds(4));
        assert!((lag.seconds() - 60.0).abs() < 0.001);
        clock.advance(TimeDelta::seconds(1));
        assert!(lag.seconds() < 0.001);
        lag.take(clock.now() + TimeDelta::seconds(9));
        assert!(lag.seconds() < 0.001);
    }
}
