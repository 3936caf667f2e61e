use std::{collections::BTreeMap, fmt, time::Duration};

use serde::Serialize;

use crate::{MeasuredLoad, Outcome};

/// A load, for people as a table and for programs as JSON.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Report {
    /// How many seconds were counted.
    pub seconds: f64,
    /// Requests in that time.
    pub requests: u64,
    /// How many of them a second got what they asked for.
    pub good_per_second: f64,
    /// The processor time of the generator as a share of one core: near 1, it is the generator that was measured.
    pub generator_cpu: f64,
    /// Latencies in milliseconds, of all requests and by outcome.
    pub latencies: BTreeMap<String, Latencies>,
}

/// How long requests took, in milliseconds.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[expect(missing_docs, reason = "percentiles")]
pub struct Latencies {
    pub count: u64,
    pub p50: f64,
    pub p95: f64,
    pub p99: f64,
    #[serde(rename = "p99.9")]
    pub p99_9: f64,
    pub max: f64,
}

impl Latencies {
    fn new(count: u64, quantile: impl Fn(f64) -> Duration) -> Self {
        let millis = |share| quantile(share).as_secs_f64() * 1_000.0;
        let [p50, p95, p99, p99_9, max] = [0.5, 0.95, 0.99, 0.999, 1.0].map(millis);
        Self { count, p50, p95, p99, p99_9, max }
    }
}

impl From<&MeasuredLoad> for Report {
    fn from(load: &MeasuredLoad) -> Self {
        let by_outcome = load.outcomes().map(|(outcome, count): (Outcome, u64)| {
            (outcome.to_string(), Latencies::new(count, |share| load.quantile_of(outcome, share)))
        });
        let all = ("all".to_owned(), Latencies::new(load.count(), |share| load.quantile(share)));
        Self {
            seconds: load.measured.as_secs_f64(),
            requests: load.count(),
            good_per_second: load.good_per_second(),
            generator_cpu: load.own_share(),
            latencies: std::iter::once(all).chain(by_outcome).collect(),
        }
    }
}

impl fmt::Display for Report {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(
            formatter,
            "{} requests in {:.1} s, {:.1} good ones a second; the generator took {:.0} % of a core",
            self.requests,
            self.seconds,
            self.good_per_second,
            self.generator_cpu * 100.0
        )?;
        writeln!(
            formatter,
            "\n{:<18} {:>9} {:>9} {:>9} {:>9} {:>9} {:>9}",
            "milliseconds", "count", "p50", "p95", "p99", "p99.9", "max"
        )?;
        for (outcome, Latencies { count, p50, p95, p99, p99_9, max }) in &self.latencies {
            writeln!(
                formatter,
                "{outcome:<18} {count:>9} {p50:>9.2} {p95:>9.2} {p99:>9.2} {p99_9:>9.2} {max:>9.2}"
            )?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::measured_load::Recorder;

    #[test]
    fn a_report_has_every_outcome() {
        let recorder = Recorder::default();
        recorder.record(Outcome::Http(200), Duration::from_millis(2));
        recorder.record(Outcome::Http(503), Duration::from_millis(1));
        let report = Report::from(&recorder.take(Duration::from_secs(1), Duration::from_millis(100)));
        assert_eq!(report.latencies.keys().collect::<Vec<_>>(), ["200", "503", "all"]);
        let text = report.to_string();
        assert!(
            text.starts_with(
                "2 requests in 1.0 s, 1.0 good ones a second; the generator took 10 % of a core"
            ),
            "{text}"
        );
        let json = serde_json::to_value(&report).unwrap();
        assert_eq!(json.pointer("/latencies/200/count"), Some(&serde_json::json!(1)));
    }
}
