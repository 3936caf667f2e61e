use std::time::Duration;

use chrono::TimeDelta;

const SHORTEST_PAUSE: Duration = Duration::from_secs(5);
const LONGEST_PAUSE: Duration = Duration::from_mins(10);
/// A pause is this part of the time for which the mail has waited.
const PART: u32 = 4;

/// How long a mail that has waited for `waited` is put aside when its domain is slow and has enough under way. The pause grows with the wait, because
/// otherwise thousands that wait would keep coming back, and occupy the workers with putting them aside.
#[must_use]
pub fn pause(waited: TimeDelta) -> Duration {
    (waited.to_std().unwrap_or_default() / PART).clamp(SHORTEST_PAUSE, LONGEST_PAUSE)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn who_has_waited_for_longer_is_put_aside_for_longer_within_limits() {
        let seconds = |waited| pause(TimeDelta::seconds(waited)).as_secs();
        assert_eq!([-9, 0, 20, 60, 600, 2_400, 86_400].map(seconds), [5, 5, 5, 15, 150, 600, 600]);
    }
}
