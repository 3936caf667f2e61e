//! Traffic, and how long its requests took.

use std::{
    collections::BTreeMap,
    fmt,
    sync::Arc,
    time::{Duration, Instant},
};

use tokio::task::JoinSet;

use crate::timing::{median, percentile};

/// What became of a request: its status, or `None` when there was no answer.
pub type Outcome = Option<u16>;

/// The requests of a load, by outcome.
#[derive(Debug, Clone, Default)]
pub struct Load {
    latencies: BTreeMap<Outcome, Vec<Duration>>,
    elapsed: Duration,
}

impl Load {
    /// Each of `clients` sends its next request when the last one was answered, for `duration`.
    pub async fn closed_loop<F>(
        clients: usize,
        duration: Duration,
        request: impl Fn() -> F + Send + Sync + 'static,
    ) -> Self
    where
        F: Future<Output = Outcome> + Send,
    {
        let request = Arc::new(request);
        let started = Instant::now();
        let mut running = JoinSet::new();
        for _ in 0..clients {
            let request = Arc::clone(&request);
            running.spawn(async move {
                let mut load = Self::default();
                while started.elapsed() < duration {
                    let (outcome, latency) = timed(request()).await;
                    load.add(outcome, latency);
                }
                load
            });
        }
        let mut load = running.join_all().await.into_iter().fold(Self::default(), Self::merged);
        load.elapsed = started.elapsed();
        load
    }

    /// Sends `per_second` requests for `duration`, whether or not earlier ones were answered, as a crowd does. A latency counts from when
    /// the request was due.
    pub async fn open_loop<F>(
        per_second: u32,
        duration: Duration,
        request: impl Fn() -> F + Send + Sync + 'static,
    ) -> Self
    where
        F: Future<Output = Outcome> + Send + 'static,
    {
        let started = Instant::now();
        let mut ticks = tokio::time::interval(Duration::from_secs(1) / per_second);
        let mut running = JoinSet::new();
        while started.elapsed() < duration {
            let due = ticks.tick().await.into_std();
            let sent = request();
            running.spawn(async move { (sent.await, due.elapsed()) });
        }
        let mut load = Self::default();
        for (outcome, latency) in running.join_all().await {
            load.add(outcome, latency);
        }
        load.elapsed = started.elapsed();
        load
    }

    fn add(&mut self, outcome: Outcome, latency: Duration) {
        self.latencies.entry(outcome).or_default().push(latency);
    }

    fn merged(mut self, other: Self) -> Self {
        for (outcome, latencies) in other.latencies {
            self.latencies.entry(outcome).or_default().extend(latencies);
        }
        self
    }

    /// How many requests there were.
    #[must_use]
    pub fn count(&self) -> usize {
        self.latencies.values().map(Vec::len).sum()
    }

    /// How many requests had this outcome.
    #[must_use]
    pub fn count_of(&self, outcome: Outcome) -> usize {
        self.latencies.get(&outcome).map_or(0, Vec::len)
    }

    /// Every outcome that there was.
    pub fn outcomes(&self) -> impl Iterator<Item = Outcome> {
        self.latencies.keys().copied()
    }

    /// What `percent` of all requests did not exceed.
    #[must_use]
    pub fn percentile(&self, percent: usize) -> Duration {
        let all: Vec<Duration> = self.latencies.values().flatten().copied().collect();
        percentile(&all, percent)
    }

    /// What `percent` of the requests with this outcome did not exceed.
    #[must_use]
    pub fn percentile_of(&self, outcome: Outcome, percent: usize) -> Duration {
        percentile(self.latencies.get(&outcome).map_or(&[], Vec::as_slice), percent)
    }
}

impl fmt::Display for Load {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{} requests in {:.1?}", self.count(), self.elapsed)?;
        for (outcome, latencies) in &self.latencies {
            let outcome = outcome.map_or_else(|| "no answer".to_owned(), |status| status.to_string());
            write!(
                formatter,
                "; {outcome}: {} (median {:.1?}, p95 {:.1?}, p99 {:.1?})",
                latencies.len(),
                median(latencies),
                percentile(latencies, 95),
                percentile(latencies, 99)
            )?;
        }
        Ok(())
    }
}

async fn timed(request: impl Future<Output = Outcome>) -> (Outcome, Duration) {
    let started = Instant::now();
    let outcome = request.await;
    (outcome, started.elapsed())
}

/// The outcome of a request of `reqwest`, its body read.
pub async fn outcome(request: reqwest::RequestBuilder) -> Outcome {
    let answer = request.send().await.ok()?;
    let status = answer.status().as_u16();
    answer.bytes().await.ok()?;
    Some(status)
}
