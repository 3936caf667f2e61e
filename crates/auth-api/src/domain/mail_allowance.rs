use chrono::{DateTime, TimeDelta, Utc};

/// How many mails that anybody can ask for one address is sent, in which time.
const LIMITS: &[(usize, TimeDelta)] =
    &[(1, TimeDelta::minutes(1)), (5, TimeDelta::hours(1)), (10, TimeDelta::days(1))];
const REMEMBERED: TimeDelta = TimeDelta::days(1);

/// When mails were sent once one more is sent at `now`; `None` when that would be too many.
///
/// Notices of what happened in an account are not counted: whoever took it over must not be able to use up its owner's allowance first.
#[must_use]
pub fn with_one_more(sent_at: &[DateTime<Utc>], now: DateTime<Utc>) -> Option<Vec<DateTime<Utc>>> {
    let within = |time: TimeDelta| sent_at.iter().filter(move |sent| now - **sent < time);
    let is_allowed = LIMITS.iter().all(|(count, time)| within(*time).count() < *count);
    is_allowed.then(|| within(REMEMBERED).copied().chain([now]).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_a_minute_five_an_hour_ten_a_day() {
        let mut sent = Vec::new();
        let mut at = Vec::new();
        for second in (0..86_400).step_by(30) {
            let now = DateTime::UNIX_EPOCH + TimeDelta::seconds(second);
            if let Some(more) = with_one_more(&sent, now) {
                sent = more;
                at.push(second);
            }
        }
        assert_eq!(at, [0, 60, 120, 180, 240, 3600, 3660, 3720, 3780, 3840]);
        assert!(with_one_more(&sent, DateTime::UNIX_EPOCH + TimeDelta::days(1)).is_some());
    }
}
