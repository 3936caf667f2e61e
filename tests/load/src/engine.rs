//! The two kinds of loops.

use std::{
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    thread,
    time::{Duration, Instant},
};

use anyhow::Context;
use rustix::time::{ClockId, clock_gettime};
use tokio::{sync::Semaphore, task::JoinSet, time::timeout};

use crate::{MeasuredLoad, Outcome, Schedule, measured_load::Recorder};

/// A request that is not answered by then has no answer.
const PATIENCE: Duration = Duration::from_secs(10);

/// Sends one request after the other, usually over a connection of its own.
pub trait Client: Send + 'static {
    /// Sends the next request and waits for its answer.
    fn request(&mut self) -> impl Future<Output = Outcome> + Send;
}

/// For how long to make a load.
#[derive(Debug, Clone, Copy)]
pub struct Timing {
    /// What happens before this is not counted.
    pub warm_up: Duration,
    /// What is counted.
    pub measured: Duration,
}

impl Timing {
    /// `measured`, after a fourth of it that is not counted.
    #[must_use]
    pub fn after_warm_up(measured: Duration) -> Self {
        Self { warm_up: measured / 4, measured }
    }

    fn total(self) -> Duration {
        self.warm_up + self.measured
    }
}

/// Each client sends its next request when its last one was answered.
pub async fn closed_loop<C: Client>(clients: Vec<C>, timing: Timing) -> MeasuredLoad {
    let recorder = Arc::new(Recorder::default());
    let started = Instant::now();
    let mut running = JoinSet::new();
    for mut client in clients {
        let recorder = Arc::clone(&recorder);
        running.spawn(async move {
            loop {
                let sent = Instant::now();
                let outcome = timeout(PATIENCE, client.request()).await.unwrap_or(Outcome::Silence);
                let elapsed = started.elapsed();
                if elapsed >= timing.total() {
                    break;
                }
                // A refusal that costs nothing must not make a loop that leaves room for nothing else.
                if outcome == Outcome::Silence {
                    tokio::time::sleep(Duration::from_millis(1)).await;
                }
                if elapsed >= timing.warm_up {
                    recorder.record(outcome, sent.elapsed());
                }
            }
        });
    }
    let own_cpu = cpu_while_measuring(timing).await;
    while running.join_next().await.is_some() {}
    recorder.take(timing.measured, own_cpu)
}

/// Sends `per_second` requests, whether or not earlier ones were answered, as a crowd does; at most as many at once as there are clients. A
/// latency counts from when the request was due, so that a server that holds everybody up does not hide it by holding us up too.
pub async fn open_loop<C: Client>(
    clients: Vec<C>,
    per_second: f64,
    timing: Timing,
) -> anyhow::Result<MeasuredLoad> {
    let schedule = Schedule::new(per_second, timing.total());
    let recorder = Arc::new(Recorder::default());
    let next = Arc::new(AtomicU64::new(0));
    let started = Instant::now();
    let ticks = Ticks::start(schedule, started, clients.len())?;
    let mut running = JoinSet::new();
    for mut client in clients {
        let (recorder, next, due_now) =
            (Arc::clone(&recorder), Arc::clone(&next), Arc::clone(&ticks.due_now));
        running.spawn(async move {
            while let Ok(tick) = due_now.acquire().await {
                tick.forget();
                let Some(due) = schedule.due(next.fetch_add(1, Ordering::Relaxed)) else { break };
                let outcome = timeout(PATIENCE, client.request()).await.unwrap_or(Outcome::Silence);
                if due >= timing.warm_up {
                    recorder.record(outcome, (started + due).elapsed());
                }
            }
        });
    }
    let own_cpu = cpu_while_measuring(timing).await;
    while running.join_next().await.is_some() {}
    Ok(recorder.take(timing.measured, own_cpu))
}

/// A thread that says when requests are due. The timers of the runtime have a grain of a millisecond, which would be seen in the latencies.
struct Ticks {
    due_now: Arc<Semaphore>,
}

impl Ticks {
    fn start(schedule: Schedule, started: Instant, clients: usize) -> anyhow::Result<Self> {
        let due_now = Arc::new(Semaphore::new(0));
        let thread_due_now = Arc::clone(&due_now);
        let run = move || {
            let mut number = 0;
            while let Some(due) = schedule.due(number) {
                thread::sleep(due.saturating_sub(started.elapsed()));
                if thread_due_now.is_closed() {
                    return;
                }
                thread_due_now.add_permits(1);
                number += 1;
            }
            // Each client then sees that there is nothing left to do.
            thread_due_now.add_permits(clients);
        };
        thread::Builder::new().name("ticks".to_owned()).spawn(run).context("cannot start a thread")?;
        Ok(Self { due_now })
    }
}

impl Drop for Ticks {
    fn drop(&mut self) {
        self.due_now.close();
    }
}

async fn cpu_while_measuring(timing: Timing) -> Duration {
    tokio::time::sleep(timing.warm_up).await;
    let before = own_cpu();
    tokio::time::sleep(timing.measured).await;
    own_cpu().saturating_sub(before)
}

fn own_cpu() -> Duration {
    let time = clock_gettime(ClockId::ProcessCPUTime);
    let (seconds, nanos) = (u64::try_from(time.tv_sec), u32::try_from(time.tv_nsec));
    Duration::new(seconds.unwrap_or_default(), nanos.unwrap_or_default())
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Answers after a while, as a server does that serves one request after the other.
    struct Slow(Duration);

    impl Client for Slow {
        async fn request(&mut self) -> Outcome {
            tokio::time::sleep(self.0).await;
            Outcome::Http(200)
        }
    }

    fn timing(warm_up: u64, measured: u64) -> Timing {
        Timing { warm_up: Duration::from_millis(warm_up), measured: Duration::from_millis(measured) }
    }

    #[tokio::test]
    async fn a_closed_loop_waits_for_its_answers() {
        let load = closed_loop(vec![Slow(Duration::from_millis(20))], timing(50, 200)).await;
        assert!((1..=10).contains(&load.count()), "{}", load.count());
        assert!(load.quantile(0.5) >= Duration::from_millis(20));
    }

    #[tokio::test]
    async fn an_open_loop_counts_the_wait_for_a_client_that_is_busy() {
        let load = open_loop(vec![Slow(Duration::from_millis(20))], 100.0, timing(0, 200)).await.unwrap();
        assert_eq!(load.count(), 20, "all that were due were sent");
        assert!(load.quantile(1.0) >= Duration::from_millis(190), "{:?}", load.quantile(1.0));
    }

    #[tokio::test]
    async fn an_open_loop_that_is_dropped_stops_its_thread() {
        let ticks = Ticks::start(Schedule::new(1_000.0, Duration::from_hours(1)), Instant::now(), 1).unwrap();
        let due_now = Arc::clone(&ticks.due_now);
        drop(ticks);
        while Arc::strong_count(&due_now) > 1 {
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
    }
}
