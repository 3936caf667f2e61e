//! Whether two kinds of requests can be told apart by how long they take.

use std::{
    fmt,
    time::{Duration, Instant},
};

/// How long the requests of two kinds took.
#[derive(Debug, Clone, Default)]
pub struct Arms {
    /// The first kind.
    pub left: Vec<Duration>,
    /// The second kind.
    pub right: Vec<Duration>,
}

impl Arms {
    /// Times `pairs` requests of each kind, one at a time. The kinds alternate, and so does which of them begins, so that whatever else
    /// happens on the machine happens to both. A tenth as many pairs go before and are not counted.
    pub async fn interleaved(
        pairs: usize,
        mut left: impl AsyncFnMut(),
        mut right: impl AsyncFnMut(),
    ) -> Self {
        for _ in 0..pairs / 10 {
            left().await;
            right().await;
        }
        let mut arms = Self::default();
        for pair in 0..pairs {
            if pair % 2 == 0 {
                arms.left.push(timed(&mut left).await);
                arms.right.push(timed(&mut right).await);
            } else {
                arms.right.push(timed(&mut right).await);
                arms.left.push(timed(&mut left).await);
            }
        }
        arms
    }

    /// The same with each kind in the place of the other.
    #[must_use]
    pub fn swapped(self) -> Self {
        Self { left: self.right, right: self.left }
    }

    /// Adds the samples of `more`.
    pub fn extend(&mut self, more: Self) {
        self.left.extend(more.left);
        self.right.extend(more.right);
    }

    /// The chance that a request of the right kind takes longer than one of the left kind (the Mann-Whitney statistic as a share): 0.5 when
    /// they cannot be told apart, 0 or 1 when one request is enough.
    #[must_use]
    #[expect(clippy::cast_precision_loss, reason = "there are thousands of samples, not 2^52")]
    pub fn auc(&self) -> f64 {
        let mut left = self.left.clone();
        left.sort_unstable();
        let wins = self.right.iter().map(|sample| {
            let below = left.partition_point(|other| other < sample);
            let not_above = left.partition_point(|other| other <= sample);
            // A tie counts half.
            (below + not_above) as f64 / 2.0
        });
        wins.sum::<f64>() / (self.left.len() * self.right.len()) as f64
    }

    /// How far the medians are apart.
    #[must_use]
    pub fn median_difference(&self) -> Duration {
        median(&self.left).abs_diff(median(&self.right))
    }
}

impl fmt::Display for Arms {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            formatter,
            "AUC {:.3}, medians {:.2?} and {:.2?}, over {} and {} samples",
            self.auc(),
            median(&self.left),
            median(&self.right),
            self.left.len(),
            self.right.len()
        )
    }
}

async fn timed(request: &mut impl AsyncFnMut()) -> Duration {
    let started = Instant::now();
    request().await;
    started.elapsed()
}

/// The middle of `samples`; of an even number, the upper one of the two.
#[must_use]
pub fn median(samples: &[Duration]) -> Duration {
    percentile(samples, 50)
}

/// What `percent` of `samples` do not exceed.
#[must_use]
pub fn percentile(samples: &[Duration], percent: usize) -> Duration {
    let mut sorted = samples.to_vec();
    sorted.sort_unstable();
    let index = (sorted.len() * percent / 100).min(sorted.len().saturating_sub(1));
    sorted.get(index).copied().unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn milliseconds(values: impl IntoIterator<Item = u64>) -> Vec<Duration> {
        values.into_iter().map(Duration::from_millis).collect()
    }

    #[test]
    fn the_auc_is_a_half_for_equal_arms_and_one_for_apart_ones() {
        let auc = |left: &[u64], right: &[u64]| {
            let (left, right) = (milliseconds(left.iter().copied()), milliseconds(right.iter().copied()));
            Arms { left, right }.auc()
        };
        for (left, right, expected) in [
            (&[1, 2, 3][..], &[1, 2, 3][..], 0.5),
            (&[1, 2], &[3, 4], 1.0),
            (&[3, 4], &[1, 2], 0.0),
            (&[2, 2], &[2, 2], 0.5),
            (&[1, 3], &[2, 2], 0.5),
        ] {
            assert!((auc(left, right) - expected).abs() < 1e-9, "{left:?} {right:?}");
        }
    }

    #[test]
    fn percentiles_are_samples() {
        let samples = milliseconds((1..=100).rev());
        assert_eq!(percentile(&samples, 95), Duration::from_millis(96));
        assert_eq!(percentile(&samples, 100), Duration::from_millis(100));
        assert_eq!(median(&[]), Duration::ZERO);
    }
}
