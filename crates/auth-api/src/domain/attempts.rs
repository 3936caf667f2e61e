use chrono::{DateTime, TimeDelta, Utc};

/// How often something that can be guessed may be tried. An attempt is reserved, as a failure, before it is judged, so that parallel guesses cannot
/// overrun the limit; a success clears what was reserved.
#[derive(Debug, Clone, Copy)]
pub struct Budget {
    /// What is counted; the name in the database.
    pub scope: &'static str,
    /// After so many failures in a row a captcha is wanted with each attempt.
    captcha_after: Option<u32>,
    /// After so many failures in a row comes a pause.
    pause_after: Option<u32>,
    /// The first pause; each further failure doubles it.
    first_pause: TimeDelta,
    /// No pause is longer.
    longest_pause: TimeDelta,
    /// So many attempts in an hour.
    per_hour: Option<u32>,
    /// After so many failures in a row the factor is off, however right what is presented.
    off_after: Option<u32>,
}

/// Passwords, by address. NIST SP 800-63B-4, section 3.2.2, wants at most 100 failures in a row.
pub const PASSWORD: Budget = Budget {
    scope: "password",
    captcha_after: Some(3),
    pause_after: Some(5),
    first_pause: TimeDelta::seconds(30),
    longest_pause: TimeDelta::minutes(15),
    per_hour: None,
    off_after: Some(100),
};

/// Passwords from a browser that logged in to the account before: apart from everybody else's attempts, who therefore cannot lock the owner out.
pub const KNOWN_DEVICE: Budget = Budget {
    scope: "device",
    captcha_after: None,
    pause_after: None,
    first_pause: TimeDelta::zero(),
    longest_pause: TimeDelta::zero(),
    per_hour: Some(10),
    off_after: Some(100),
};

/// Codes of an authenticator app and recovery codes, by user.
pub const SECOND_FACTOR: Budget = Budget {
    scope: "second_factor",
    captcha_after: None,
    pause_after: Some(5),
    first_pause: TimeDelta::minutes(15),
    longest_pause: TimeDelta::minutes(15),
    per_hour: Some(10),
    off_after: Some(100),
};

const WINDOW: TimeDelta = TimeDelta::hours(1);

/// What was tried so far.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Attempts {
    /// Failures, and attempts that are not judged yet, since the last success.
    pub consecutive: u32,
    /// When the hour began in which `window_count` attempts were made.
    pub window_started_at: DateTime<Utc>,
    /// Attempts in this hour.
    pub window_count: u32,
    /// Until when nothing may be tried.
    pub blocked_until: Option<DateTime<Utc>>,
}

/// Why an attempt may not be made now.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum NotNow {
    /// It needs a captcha.
    CaptchaWanted,
    /// It has to wait.
    Wait(TimeDelta),
}

impl Attempts {
    /// None so far.
    #[must_use]
    pub fn none(now: DateTime<Utc>) -> Self {
        Self { consecutive: 0, window_started_at: now, window_count: 0, blocked_until: None }
    }

    /// Whether nothing may be tried at `now`.
    #[must_use]
    pub fn pauses(&self, now: DateTime<Utc>) -> bool {
        self.blocked_until.is_some_and(|until| until > now)
    }

    /// What was tried once this attempt is counted, as a failure; or why it may not be made.
    pub fn reserve(self, budget: &Budget, captcha_passed: bool, now: DateTime<Utc>) -> Result<Self, NotNow> {
        if let Some(until) = self.blocked_until.filter(|until| *until > now) {
            return Err(NotNow::Wait(until - now));
        }
        let window_ends = self.window_started_at + WINDOW;
        let (window_started_at, window_count) =
            if now >= window_ends { (now, 0) } else { (self.window_started_at, self.window_count) };
        if budget.per_hour.is_some_and(|limit| window_count >= limit) {
            return Err(NotNow::Wait(window_ends - now));
        }
        if self.wants_captcha(budget) && !captcha_passed {
            return Err(NotNow::CaptchaWanted);
        }
        let consecutive = self.consecutive.saturating_add(1);
        let blocked_until = budget.pause(consecutive).map(|pause| now + pause);
        Ok(Self { consecutive, window_started_at, window_count: window_count + 1, blocked_until })
    }

    /// Whether the next attempt needs a captcha.
    #[must_use]
    pub fn wants_captcha(&self, budget: &Budget) -> bool {
        budget.captcha_after.is_some_and(|after| self.consecutive >= after)
    }

    /// Whether the factor opens nothing any more: there were too many failures before this, reserved, attempt.
    #[must_use]
    pub fn is_off(&self, budget: &Budget) -> bool {
        budget.off_after.is_some_and(|after| self.consecutive > after)
    }

    /// Whether this, failed, attempt is the one that locks: the first that is followed by a pause, or the last one that is allowed.
    #[must_use]
    pub fn just_locked(&self, budget: &Budget) -> Option<Lock> {
        if budget.off_after == Some(self.consecutive) {
            return Some(Lock::UntilReset);
        }
        (budget.pause_after == Some(self.consecutive))
            .then_some(self.blocked_until)
            .flatten()
            .map(Lock::Until)
    }
}

/// What a failure locked.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Lock {
    /// The factor, for a while.
    Until(DateTime<Utc>),
    /// The factor, until it is set anew.
    UntilReset,
}

impl Budget {
    /// The pause after `consecutive` failures in a row.
    fn pause(&self, consecutive: u32) -> Option<TimeDelta> {
        let doublings = consecutive.checked_sub(self.pause_after?)?;
        let factor = 1_i32.checked_shl(doublings.min(30)).unwrap_or(i32::MAX);
        let pause = self.first_pause.checked_mul(factor).unwrap_or(self.longest_pause);
        Some(pause.min(self.longest_pause))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Waits of a guesser who always tries as soon as that is possible, in seconds.
    fn waits(budget: &Budget, failures: u32) -> Vec<i64> {
        let mut now = DateTime::UNIX_EPOCH;
        let mut attempts = Attempts::none(now);
        let mut waits = Vec::new();
        for _ in 0..failures {
            let began = now;
            attempts = loop {
                match attempts.reserve(budget, true, now) {
                    Ok(reserved) => break reserved,
                    Err(NotNow::Wait(wait)) => now += wait,
                    Err(NotNow::CaptchaWanted) => panic!("a captcha was passed"),
                }
            };
            waits.push((now - began).num_seconds());
        }
        waits
    }

    #[test]
    fn pauses_double_up_to_a_quarter_of_an_hour() {
        assert_eq!(waits(&PASSWORD, 12), [0, 0, 0, 0, 0, 30, 60, 120, 240, 480, 900, 900]);
        assert_eq!(waits(&SECOND_FACTOR, 7), [0, 0, 0, 0, 0, 900, 900]);
    }

    #[test]
    fn an_hour_has_a_limit_of_its_own() {
        let day: i64 = waits(&SECOND_FACTOR, 40).iter().sum();
        assert!(day >= 3 * 3600, "40 codes in {day} s");
        assert_eq!(waits(&KNOWN_DEVICE, 11).last(), Some(&3600));
    }

    #[test]
    fn a_captcha_is_wanted_after_the_third_failure() {
        let now = DateTime::UNIX_EPOCH;
        let mut attempts = Attempts::none(now);
        for _ in 0..3 {
            attempts = attempts.reserve(&PASSWORD, false, now).unwrap();
        }
        assert_eq!(attempts.reserve(&PASSWORD, false, now), Err(NotNow::CaptchaWanted));
        assert_eq!(attempts.reserve(&PASSWORD, true, now).unwrap().consecutive, 4);
    }

    #[test]
    fn the_hundredth_failure_is_the_last_attempt_that_could_succeed() {
        let now = DateTime::UNIX_EPOCH;
        let hundredth =
            Attempts { consecutive: 99, ..Attempts::none(now) }.reserve(&PASSWORD, true, now).unwrap();
        assert!(!hundredth.is_off(&PASSWORD));
        assert_eq!(hundredth.just_locked(&PASSWORD), Some(Lock::UntilReset));
        let later = now + TimeDelta::hours(1);
        assert!(hundredth.reserve(&PASSWORD, true, later).unwrap().is_off(&PASSWORD));
    }
}
