use std::{collections::BTreeMap, time::Duration};

use hdrhistogram::Histogram;
use parking_lot::Mutex;

use crate::Outcome;

/// A request that takes longer counts as this.
const LONGEST: Duration = Duration::from_mins(1);

/// The requests of a load, by outcome, with how long they took.
#[derive(Debug, Default)]
pub struct MeasuredLoad {
    latencies: BTreeMap<Outcome, Histogram<u64>>,
    /// How long requests were counted.
    pub measured: Duration,
    /// The processor time that the generator itself took meanwhile. Where it comes near `measured`, the generator was measured.
    pub own_cpu: Duration,
}

/// Collects what the clients of a load met.
#[derive(Debug, Default)]
pub(crate) struct Recorder(Mutex<MeasuredLoad>);

impl Recorder {
    pub(crate) fn record(&self, outcome: Outcome, latency: Duration) {
        self.0.lock().add(outcome, latency);
    }

    pub(crate) fn take(&self, measured: Duration, own_cpu: Duration) -> MeasuredLoad {
        MeasuredLoad { measured, own_cpu, ..std::mem::take(&mut *self.0.lock()) }
    }
}

impl MeasuredLoad {
    fn add(&mut self, outcome: Outcome, latency: Duration) {
        let histogram = self.latencies.entry(outcome).or_insert_with(histogram);
        histogram.saturating_record(u64::try_from(latency.as_nanos()).unwrap_or(u64::MAX));
    }

    /// How many requests there were.
    #[must_use]
    pub fn count(&self) -> u64 {
        self.latencies.values().map(Histogram::len).sum()
    }

    /// Every outcome that there was, and how often.
    pub fn outcomes(&self) -> impl Iterator<Item = (Outcome, u64)> {
        self.latencies.iter().map(|(outcome, histogram)| (*outcome, histogram.len()))
    }

    /// Every outcome and its count, for people.
    #[must_use]
    pub fn answers(&self) -> String {
        self.outcomes().map(|(outcome, count)| format!("{outcome}: {count}")).collect::<Vec<_>>().join(", ")
    }

    /// How many requests got what they asked for.
    #[must_use]
    pub fn good(&self) -> u64 {
        self.outcomes().filter(|(outcome, _)| outcome.is_good()).map(|(_, count)| count).sum()
    }

    /// How many requests a second got what they asked for.
    #[must_use]
    #[expect(clippy::cast_precision_loss, reason = "there are millions of requests, not 2^52")]
    pub fn good_per_second(&self) -> f64 {
        self.good() as f64 / self.measured.as_secs_f64().max(f64::MIN_POSITIVE)
    }

    /// What this share of all requests, from 0 to 1, did not exceed; zero where there were none.
    #[must_use]
    pub fn quantile(&self, share: f64) -> Duration {
        let mut all = histogram();
        for histogram in self.latencies.values() {
            // They have the same bounds.
            all.add(histogram).ok();
        }
        Duration::from_nanos(all.value_at_quantile(share))
    }

    /// The same of the requests with one outcome.
    #[must_use]
    pub fn quantile_of(&self, outcome: Outcome, share: f64) -> Duration {
        let histogram = self.latencies.get(&outcome);
        histogram.map_or(Duration::ZERO, |histogram| Duration::from_nanos(histogram.value_at_quantile(share)))
    }

    /// The processor time of the generator as a share of one core.
    #[must_use]
    pub fn own_share(&self) -> f64 {
        self.own_cpu.as_secs_f64() / self.measured.as_secs_f64().max(f64::MIN_POSITIVE)
    }
}

/// From a microsecond on, with three digits.
#[expect(clippy::expect_used, reason = "constants within what the crate allows")]
fn histogram() -> Histogram<u64> {
    let longest = u64::try_from(LONGEST.as_nanos()).unwrap_or(u64::MAX);
    Histogram::new_with_bounds(1_000, longest, 3).expect("bounds of a histogram")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn requests_are_counted_by_outcome_and_only_good_ones_make_the_rate() {
        let recorder = Recorder::default();
        for millis in 1..=100 {
            recorder.record(Outcome::Http(200), Duration::from_millis(millis));
        }
        recorder.record(Outcome::Http(503), Duration::from_millis(1));
        recorder.record(Outcome::Silence, Duration::from_hours(1));
        let load = recorder.take(Duration::from_secs(10), Duration::from_secs(2));
        assert_eq!((load.count(), load.good()), (102, 100));
        assert!((load.good_per_second() - 10.0).abs() < 1e-9);
        assert!((load.own_share() - 0.2).abs() < 1e-9);
        let p95 = load.quantile_of(Outcome::Http(200), 0.95);
        assert!(p95.abs_diff(Duration::from_millis(95)) < Duration::from_micros(200), "{p95:?}");
        assert!(load.quantile(1.0) >= LONGEST);
        assert_eq!(load.quantile_of(Outcome::Grpc(0), 0.5), Duration::ZERO);
    }
}
