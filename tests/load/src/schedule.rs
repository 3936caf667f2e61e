use std::time::Duration;

/// When the requests of an open loop are due, counted from its start. It does not depend on how long anything takes: that is the point of
/// an open loop.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Schedule {
    per_second: f64,
    total: Duration,
}

impl Schedule {
    /// `per_second` requests, evenly spread over `total`. A rate that is no positive number gives an empty schedule.
    #[must_use]
    pub fn new(per_second: f64, total: Duration) -> Self {
        let per_second = if per_second.is_finite() && per_second > 0.0 { per_second } else { 0.0 };
        Self { per_second, total }
    }

    /// How many requests there are.
    #[must_use]
    #[expect(
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        reason = "a positive number of requests"
    )]
    pub fn len(&self) -> u64 {
        (self.per_second * self.total.as_secs_f64()).floor() as u64
    }

    /// Whether there is nothing to do.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// When the request with this number, from 0 on, is due; `None` after the last one.
    #[must_use]
    #[expect(clippy::cast_precision_loss, reason = "there are millions of requests, not 2^52")]
    pub fn due(&self, number: u64) -> Option<Duration> {
        (number < self.len()).then(|| Duration::from_secs_f64(number as f64 / self.per_second))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn requests_are_due_at_even_distances_and_none_after_the_end() {
        let schedule = Schedule::new(4.0, Duration::from_secs(2));
        assert_eq!(schedule.len(), 8);
        let due: Vec<_> = (0..10).map_while(|number| schedule.due(number)).collect();
        assert_eq!(due.len(), 8);
        assert!(due.iter().zip(0_u64..).all(|(due, number)| *due == Duration::from_millis(250 * number)));
    }

    #[test]
    fn distances_do_not_add_up_rounding_errors() {
        let schedule = Schedule::new(3.0, Duration::from_hours(1));
        let last = schedule.due(schedule.len() - 1).unwrap();
        assert_eq!(last.as_millis(), 3_599_666);
    }

    #[test]
    fn a_rate_that_is_no_rate_is_an_empty_schedule() {
        for rate in [0.0, -1.0, f64::NAN, f64::INFINITY] {
            let schedule = Schedule::new(rate, Duration::from_secs(1));
            assert!(schedule.is_empty() && schedule.due(0).is_none(), "{rate}");
        }
    }
}
