use std::{future::Future, time::Duration};

use tokio::time::{Instant, sleep, sleep_until};
use tokio_util::sync::CancellationToken;

/// How long a server may take to answer one command.
const COMMAND_DEADLINE: Duration = Duration::from_secs(10);
/// How long an answer that cannot be done without is waited for at most after the mailer was told to stop.
const LONGEST_LAST_WORDS: Duration = Duration::from_secs(15);
/// What a mailer that is being stopped keeps for writing down what came of its mails.
const TIME_TO_SETTLE: Duration = Duration::from_secs(2);

/// How long one provider may take for one mail.
#[derive(Debug, Clone)]
pub struct Patience {
    until: Instant,
    /// Until then answers are waited for that come before a mail is handed over.
    handed_over_until: Instant,
    stop: CancellationToken,
    /// How long an answer that cannot be done without is waited for after `stop`.
    last_words: Duration,
}

/// Why waiting ended without an answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum NoAnswer {
    /// It took too long.
    Silence,
    /// The mailer is being stopped.
    Stopping,
}

impl Patience {
    /// Until `limit` is over, or the mailer is told to stop, which then has `drain` to end what it began.
    #[must_use]
    pub fn new(limit: Duration, stop: CancellationToken, drain: Duration) -> Self {
        let until = Instant::now() + limit;
        Self { until, handed_over_until: until, stop, last_words: last_words(drain) }
    }

    /// The same, but never for longer than `limit` from now.
    #[must_use]
    pub fn at_most(&self, limit: Duration) -> Self {
        Self { until: self.until.min(Instant::now() + limit), ..self.clone() }
    }

    /// The same, but no answer that comes before a mail is handed over is waited for later than `limit` from now. A request that is the mail itself is
    /// sent as soon as there is a connection.
    #[must_use]
    pub fn handed_over_within(&self, limit: Duration) -> Self {
        Self { handed_over_until: self.handed_over_until.min(Instant::now() + limit), ..self.clone() }
    }

    /// What is left of it.
    #[must_use]
    pub fn left(&self) -> Duration {
        self.until.saturating_duration_since(Instant::now())
    }

    /// The answer to a command, unless it takes too long or it is time to stop.
    pub(super) async fn answer<T>(&self, step: impl Future<Output = T>) -> Result<T, NoAnswer> {
        tokio::select! {
            biased;
            answer = step => Ok(answer),
            () = self.stop.cancelled() => Err(NoAnswer::Stopping),
            () = sleep(self.left().min(COMMAND_DEADLINE)) => Err(NoAnswer::Silence),
            () = sleep_until(self.handed_over_until) => Err(NoAnswer::Silence),
        }
    }

    /// The answer to a mail that was handed over whole. While it is not there nobody knows whether the mail was taken, so all the time that is left
    /// is spent on it, and some even when the mailer is being stopped.
    pub(super) async fn last_answer<T>(&self, step: impl Future<Output = T>) -> Result<T, NoAnswer> {
        let stopped_for_too_long = async {
            self.stop.cancelled().await;
            sleep(self.last_words).await;
        };
        tokio::select! {
            biased;
            answer = step => Ok(answer),
            () = stopped_for_too_long => Err(NoAnswer::Silence),
            () = sleep_until(self.until) => Err(NoAnswer::Silence),
        }
    }
}

/// How long a mailer that has `drain` to end what it began waits for an answer that it cannot do without: whoever is killed while it waits never says
/// that the mail was taken, and it is sent a second time.
fn last_words(drain: Duration) -> Duration {
    drain.saturating_sub(TIME_TO_SETTLE).min(LONGEST_LAST_WORDS)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_answer_is_waited_for_until_shortly_before_the_process_is_killed() {
        let seconds = |drain| last_words(Duration::from_secs(drain)).as_secs();
        assert_eq!([0, 2, 5, 17, 20, 60].map(seconds), [0, 0, 3, 15, 15, 15]);
    }

    #[tokio::test(start_paused = true)]
    async fn a_mailer_that_is_stopped_gives_an_answer_what_its_drain_allows() {
        let stop = CancellationToken::new();
        let patience = Patience::new(Duration::from_secs(30), stop.clone(), Duration::from_secs(5));
        stop.cancel();
        let began = Instant::now();
        let answer = patience.last_answer(std::future::pending::<()>()).await;
        assert_eq!((answer, began.elapsed().as_secs()), (Err(NoAnswer::Silence), 3));
    }
}
