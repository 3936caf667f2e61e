//! Requests at a steady rate, beside something that happens.

use std::{
    sync::atomic::{AtomicBool, Ordering},
    time::{Duration, Instant},
};

use tokio::task::JoinSet;

/// What became of one request.
#[derive(Debug, Clone)]
pub struct Answer {
    /// The number of the request.
    pub number: usize,
    pub sent: Instant,
    pub took: Duration,
    /// Why it was not the answer that its sender wanted.
    pub problem: Option<String>,
}

impl Answer {
    /// Whether it was on its way at some moment of a time.
    #[must_use]
    pub fn was_in_flight(&self, from: Instant, to: Instant) -> bool {
        self.sent <= to && self.sent + self.took >= from
    }
}

/// Sends `per_second` requests while `scenario` goes on, whether or not earlier ones were answered, and waits for all answers. `request`
/// makes the one with a number, from 0 on.
pub async fn beside<T, F>(
    scenario: impl Future<Output = T>,
    per_second: u32,
    request: impl Fn(usize) -> F,
) -> (T, Vec<Answer>)
where
    F: Future<Output = Result<(), String>> + Send + 'static,
{
    let over = AtomicBool::new(false);
    let mut running = JoinSet::new();
    let mut ticks = tokio::time::interval(Duration::from_secs(1) / per_second);
    let traffic = async {
        let mut number = 0;
        while !over.load(Ordering::Relaxed) {
            ticks.tick().await;
            let sending = request(number);
            running.spawn(async move {
                let sent = Instant::now();
                let problem = sending.await.err();
                Answer { number, sent, took: sent.elapsed(), problem }
            });
            number += 1;
        }
    };
    let scenario = async {
        let outcome = scenario.await;
        over.store(true, Ordering::Relaxed);
        outcome
    };
    let (outcome, ()) = tokio::join!(scenario, traffic);
    (outcome, running.join_all().await)
}

/// Every problem that there was, each as often as it occurred.
#[must_use]
pub fn problems(answers: &[Answer]) -> Vec<&str> {
    answers.iter().filter_map(|answer| answer.problem.as_deref()).collect()
}
