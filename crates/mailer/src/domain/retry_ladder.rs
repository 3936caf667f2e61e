use std::time::Duration;

use chrono::{DateTime, TimeDelta, Utc};
use event_bus::topology::DELAYS;

/// The delays between attempts; the last one repeats. These are the delay queues that the broker has.
pub const STEPS: [Duration; 4] = {
    let [(_, first), (_, second), (_, third), (_, last)] = DELAYS;
    [first, second, third, last]
};

/// The part of a step that chance decides about, so that mails that failed together do not come back together.
const JITTER: f64 = 0.2;

/// How long to wait after the message failed `times` times, the last time at `now`; `None` when no further attempt would be in time.
/// `chance` is from 0 to 1.
///
/// Close to the end the steps become shorter again, so that the last attempt is not long before the expiry.
#[must_use]
pub fn delay(times: u32, now: DateTime<Utc>, expires_at: DateTime<Utc>, chance: f64) -> Option<Duration> {
    let reached = usize::try_from(times.max(1)).unwrap_or(usize::MAX).min(STEPS.len());
    let in_time = |step: &Duration| TimeDelta::from_std(*step).is_ok_and(|step| now + step < expires_at);
    let step = STEPS.iter().take(reached).rev().copied().find(in_time)?;
    Some(step.mul_f64(1.0 - JITTER * chance.clamp(0.0, 1.0)))
}

/// The longest time for which the broker may hold a message that is to come back after `pause`: in a delay queue it waits for those before it.
#[must_use]
pub fn held_for(pause: Duration) -> Duration {
    STEPS.into_iter().find(|step| *step >= pause).unwrap_or(pause)
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: DateTime<Utc> = DateTime::UNIX_EPOCH;

    #[test]
    fn the_ladder_is_climbed_and_its_last_step_repeats() {
        let in_a_day = NOW + TimeDelta::days(1);
        let seconds = |times| delay(times, NOW, in_a_day, 0.0).unwrap().as_secs();
        assert_eq!([0, 1, 2, 3, 4, 5, 900].map(seconds), [10, 10, 60, 600, 3600, 3600, 3600]);
    }

    #[test]
    fn chance_makes_a_step_shorter_and_never_longer_than_its_queue() {
        let in_a_day = NOW + TimeDelta::days(1);
        let seconds = |chance| delay(1, NOW, in_a_day, chance).unwrap().as_secs();
        assert_eq!([-1.0, 0.0, 0.5, 1.0, 7.0].map(seconds), [10, 10, 9, 8, 8]);
    }

    #[test]
    fn close_to_the_end_the_steps_are_shorter_and_then_there_is_none() {
        let left =
            |seconds| delay(9, NOW, NOW + TimeDelta::seconds(seconds), 0.0).map(|delay| delay.as_secs());
        assert_eq!(
            [3601, 3600, 601, 61, 60, 11, 10, 0, -5].map(left),
            [Some(3600), Some(600), Some(600), Some(60), Some(10), Some(10), None, None, None]
        );
    }

    #[test]
    fn what_is_put_aside_may_come_back_as_late_as_the_next_step() {
        let seconds = |pause| held_for(Duration::from_secs(pause)).as_secs();
        assert_eq!([0, 5, 10, 11, 600, 601, 7200].map(seconds), [10, 10, 10, 60, 600, 3600, 7200]);
    }
}
