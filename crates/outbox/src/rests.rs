use tokio::time::Instant;

/// In seconds: messages that are older wait behind an absence of the broker, and are late in any case.
const LATE: f64 = 5.0;

/// How long the relay rests between two batches of late messages, so that whoever makes requests meanwhile does not wait for what
/// these cost the database and the consumers.
///
/// They become shorter, down to none, while an absence would take longer to make up for than it lasted.
pub(crate) struct Rests {
    times: u32,
    /// When the round before began, and how old the oldest message was, in seconds.
    before: Option<(Instant, f64)>,
}

impl Default for Rests {
    fn default() -> Self {
        Self { times: Self::AT_MOST, before: None }
    }
}

impl Rests {
    const AT_MOST: u32 = 4;

    /// For how many times as long as a batch takes the relay rests after each of the next round, before which the oldest message is
    /// `oldest` seconds old.
    pub(crate) fn before_a_round(&mut self, oldest: f64) -> u32 {
        if oldest <= LATE {
            *self = Self::default();
            return 0;
        }
        let now = Instant::now();
        if let Some((then, age)) = self.before.replace((now, oldest)) {
            let makes_up = age - oldest >= now.duration_since(then).as_secs_f64();
            self.times = if makes_up { (self.times * 2).clamp(1, Self::AT_MOST) } else { self.times / 2 };
        }
        self.times
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use tokio::time::advance;

    use super::*;

    const ROUND: Duration = Duration::from_secs(1);

    /// The rests of rounds of a second each, before which the oldest message is so old.
    async fn rests(ages: &[f64]) -> Vec<u32> {
        let mut rests = Rests::default();
        let mut all = Vec::new();
        for age in ages {
            all.push(rests.before_a_round(*age));
            advance(ROUND).await;
        }
        all
    }

    #[tokio::test(start_paused = true)]
    async fn an_absence_is_made_up_for_with_rests_until_messages_are_on_time() {
        assert_eq!(rests(&[600.0, 580.0, 300.0, 5.1, 5.0, 0.2]).await, [4, 4, 4, 4, 0, 0]);
    }

    #[tokio::test(start_paused = true)]
    async fn rests_are_shorter_while_an_absence_would_take_longer_than_it_took() {
        assert_eq!(rests(&[600.0, 599.1, 599.0, 599.5, 598.0, 590.0, 580.0]).await, [4, 2, 1, 0, 1, 2, 4]);
    }
}
