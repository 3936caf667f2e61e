use std::time::Duration;

use tokio::time::Instant;

use crate::store::Backlog;

/// In seconds: messages that are older wait behind an absence of the broker, and are late in any case.
const LATE: f64 = 5.0;

/// In seconds: however slowly a backlog came, so many messages are brought in a second as would bring all of it in this time.
const LONG: f64 = 60.0;

/// And so many: fewer would save nobody anything.
const LEAST: f64 = 30.0;

/// How far apart batches begin that have fewer messages than [`LARGEST`].
const TICK: Duration = Duration::from_millis(100);

/// A batch between rests is no larger than this, so that what it costs is spread out.
const LARGEST: f64 = 64.0;

/// A batch that takes long waits for the broker, which costs nobody anything; and a stop is not heard during a round.
const AT_MOST: Duration = Duration::from_millis(200);

/// How the relay brings late messages, so that whoever makes requests meanwhile does not wait for what these cost the database and the
/// consumers: at most `speed` times as fast as they came, on the average of the backlog and unless [`LONG`] or [`LEAST`] say more, however
/// fast the broker takes them, and with rests between the batches.
///
/// Both end while an absence would take longer to make up for than it lasted.
pub(crate) struct Rests {
    speed: f64,
    times: u32,
    /// When the round before began, and how old the oldest message was, in seconds.
    before: Option<(Instant, f64)>,
}

/// How the batches of a round follow each other.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Tempo {
    /// How many messages a batch has at most.
    pub(crate) batch_size: i64,
    /// How much later than a batch the next one begins at least.
    period: Duration,
    /// For how many times as long as a batch took the relay rests after it at least.
    times: u32,
}

impl Rests {
    const TIMES_AT_MOST: u32 = 4;

    pub(crate) fn new(speed: f64) -> Self {
        Self { speed, times: Self::TIMES_AT_MOST, before: None }
    }

    /// Nothing is known any more of how the broker and the consumers do.
    pub(crate) fn forget(&mut self) {
        *self = Self::new(self.speed);
    }

    /// How the next round is to be brought, before which `backlog` waits; `None` where nothing is late, or there is no time to rest.
    pub(crate) fn before_a_round(&mut self, backlog: &Backlog) -> Option<Tempo> {
        let oldest = backlog.oldest_seconds;
        if oldest <= LATE {
            self.forget();
            return None;
        }
        let now = Instant::now();
        if let Some((then, age)) = self.before.replace((now, oldest)) {
            let makes_up = age - oldest >= now.duration_since(then).as_secs_f64();
            self.times =
                if makes_up { (self.times * 2).clamp(1, Self::TIMES_AT_MOST) } else { self.times / 2 };
        }
        (self.times > 0).then(|| Tempo::new(backlog, self.speed, self.times))
    }
}

impl Tempo {
    #[expect(
        clippy::cast_precision_loss,
        clippy::cast_possible_truncation,
        reason = "a rate, and then at most `LARGEST`"
    )]
    fn new(backlog: &Backlog, speed: f64, times: u32) -> Self {
        let share = (speed / backlog.oldest_seconds).max(1.0 / LONG);
        let per_second = (backlog.pending as f64 * share).max(LEAST);
        let size = (per_second * TICK.as_secs_f64()).ceil().min(LARGEST);
        Self { batch_size: size as i64, period: Duration::from_secs_f64(size / per_second), times }
    }

    /// How long the relay rests after a batch that took so long.
    pub(crate) fn rest_after(self, took: Duration) -> Duration {
        (took * self.times).max(self.period.saturating_sub(took)).min(AT_MOST)
    }
}

#[cfg(test)]
mod tests {
    use tokio::time::advance;

    use super::*;

    const ROUND: Duration = Duration::from_secs(1);

    /// For how many times as long as a batch the relay rests in rounds of a second each, before which the oldest message is so old.
    async fn times(ages: &[f64]) -> Vec<u32> {
        let mut rests = Rests::new(20.0);
        let mut all = Vec::new();
        for age in ages {
            let tempo = rests.before_a_round(&Backlog { pending: 100, oldest_seconds: *age });
            all.push(tempo.map_or(0, |tempo| tempo.times));
            advance(ROUND).await;
        }
        all
    }

    #[tokio::test(start_paused = true)]
    async fn an_absence_is_made_up_for_with_rests_until_messages_are_on_time() {
        assert_eq!(times(&[600.0, 580.0, 300.0, 5.1, 5.0, 0.2]).await, [4, 4, 4, 4, 0, 0]);
    }

    #[tokio::test(start_paused = true)]
    async fn rests_are_shorter_while_an_absence_would_take_longer_than_it_took() {
        assert_eq!(times(&[600.0, 599.1, 599.0, 599.5, 598.0, 590.0, 580.0]).await, [4, 2, 1, 0, 1, 2, 4]);
    }

    #[test]
    fn a_backlog_is_brought_some_times_as_fast_as_it_came_and_a_very_old_one_within_minutes() {
        let quick = Duration::from_millis(1);
        for (speed, pending, oldest_seconds, per_second) in [
            (20.0, 3_600, 600.0, 120.0),
            (20.0, 36, 6.0, 120.0),
            (20.0, 21_600, 600.0, 720.0),
            (8.0, 3_600, 400.0, 72.0),
            (8.0, 3_600, 600.0, 60.0),
            (8.0, 36_000, 36_000.0, 600.0),
            (20.0, 100, 600.0, 30.0),
        ] {
            let tempo = Tempo::new(&Backlog { pending, oldest_seconds }, speed, Rests::TIMES_AT_MOST);
            let size = f64::from(i32::try_from(tempo.batch_size).unwrap());
            let rate = size / (quick + tempo.rest_after(quick)).as_secs_f64();
            assert!((rate / per_second - 1.0).abs() < 0.02, "{pending} of {oldest_seconds} s: {rate}");
        }
    }

    #[test]
    fn a_batch_that_took_long_is_followed_by_a_long_rest_during_which_a_stop_need_not_wait_long() {
        let tempo =
            Tempo::new(&Backlog { pending: 100_000, oldest_seconds: 600.0 }, 20.0, Rests::TIMES_AT_MOST);
        for (took, rest) in [(10, 40), (30, 120), (50, 200), (12_000, 200)] {
            assert_eq!(
                tempo.rest_after(Duration::from_millis(took)),
                Duration::from_millis(rest),
                "{took} ms"
            );
        }
    }
}
