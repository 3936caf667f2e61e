use std::collections::VecDeque;

use chrono::{DateTime, TimeDelta, Utc};

/// Of how many outcomes a breaker knows.
const WINDOW: usize = 20;
/// What is older tells nothing about now.
const REMEMBERED_FOR: TimeDelta = TimeDelta::minutes(1);
/// Fewer failures are no pattern.
const FAILURES_TO_OPEN: usize = 5;
/// How long the first pause is; each trial that fails doubles it.
const FIRST_PAUSE: TimeDelta = TimeDelta::seconds(10);
const LONGEST_PAUSE: TimeDelta = TimeDelta::minutes(2);
/// A trial whose end nobody reported was lost with its worker.
const TRIAL_LOST_AFTER: TimeDelta = TimeDelta::minutes(1);

/// Whether a provider is worth asking.
///
/// It opens when half of the last outcomes, and at least five, are failures of the provider: that a few recipients' mails get no answer
/// while others do does not open it.
#[derive(Debug, Clone, Default)]
pub struct Breaker {
    outcomes: VecDeque<(DateTime<Utc>, bool)>,
    position: Position,
    failed_trials: u32,
}

#[derive(Debug, Clone, Copy, Default)]
enum Position {
    #[default]
    Closed,
    Open {
        until: DateTime<Utc>,
    },
    HalfOpen {
        since: DateTime<Utc>,
    },
}

/// What a breaker is like.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum BreakerState {
    /// The provider is asked.
    Closed,
    /// It is passed over until then.
    Open {
        /// When a mail tries whether it is back.
        until: DateTime<Utc>,
    },
    /// One mail tries whether it is back, or the next one will.
    HalfOpen,
}

impl Breaker {
    /// Whether the provider may be asked now. Who is told so when the breaker was open is the trial, and reports its outcome.
    pub fn admit(&mut self, now: DateTime<Utc>) -> bool {
        let admits = self.would_admit(now);
        if admits && !matches!(self.position, Position::Closed) {
            self.position = Position::HalfOpen { since: now };
        }
        admits
    }

    /// Whether [`Breaker::admit`] would say yes.
    #[must_use]
    pub fn would_admit(&self, now: DateTime<Utc>) -> bool {
        match self.position {
            Position::Closed => true,
            Position::Open { until } => until <= now,
            Position::HalfOpen { since } => since + TRIAL_LOST_AFTER <= now,
        }
    }

    /// The provider answered, whatever it said about the mail.
    pub fn succeeded(&mut self, now: DateTime<Utc>) {
        match self.position {
            Position::Closed => self.remember(now, true),
            Position::HalfOpen { .. } => *self = Self::default(),
            // It was asked before the breaker opened, and knows nothing new.
            Position::Open { .. } => {}
        }
    }

    /// The provider did not do its work for a mail that was begun at `began`. Where it did it for another one meanwhile, that is not the provider's
    /// failure but the recipient's, whose own mail server the provider may wait for.
    pub fn failed(&mut self, began: DateTime<Utc>, now: DateTime<Utc>) {
        match self.position {
            Position::Closed if self.succeeded_since(began) => {}
            Position::Closed => {
                self.remember(now, false);
                let failures = self.failures();
                if failures >= FAILURES_TO_OPEN && failures * 2 >= self.outcomes.len() {
                    self.open(now);
                }
            }
            Position::HalfOpen { .. } => {
                self.failed_trials = self.failed_trials.saturating_add(1);
                self.open(now);
            }
            Position::Open { .. } => {}
        }
    }

    /// The trial came to no end that would tell anything.
    pub fn undecided(&mut self, now: DateTime<Utc>) {
        if matches!(self.position, Position::HalfOpen { .. }) {
            self.position = Position::Open { until: now };
        }
    }

    /// What it is like at `now`.
    #[must_use]
    pub fn state(&self, now: DateTime<Utc>) -> BreakerState {
        match self.position {
            Position::Closed => BreakerState::Closed,
            Position::Open { until } if now < until => BreakerState::Open { until },
            Position::Open { .. } | Position::HalfOpen { .. } => BreakerState::HalfOpen,
        }
    }

    /// How many of the outcomes that it remembers are failures.
    #[must_use]
    pub fn failures(&self) -> usize {
        self.outcomes.iter().filter(|(_, succeeded)| !succeeded).count()
    }

    fn succeeded_since(&self, began: DateTime<Utc>) -> bool {
        self.outcomes.iter().any(|(at, succeeded)| *succeeded && *at > began)
    }

    fn remember(&mut self, now: DateTime<Utc>, succeeded: bool) {
        self.outcomes.push_back((now, succeeded));
        while self.outcomes.len() > WINDOW
            || self.outcomes.front().is_some_and(|(at, _)| *at + REMEMBERED_FOR < now)
        {
            self.outcomes.pop_front();
        }
    }

    fn open(&mut self, now: DateTime<Utc>) {
        let doubled = FIRST_PAUSE * 2_i32.pow(self.failed_trials.min(8));
        self.position = Position::Open { until: now + doubled.min(LONGEST_PAUSE) };
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: DateTime<Utc> = DateTime::UNIX_EPOCH;

    fn after(seconds: i64) -> DateTime<Utc> {
        NOW + TimeDelta::seconds(seconds)
    }

    fn opened() -> Breaker {
        let mut breaker = Breaker::default();
        for _ in 0..5 {
            assert!(breaker.admit(NOW));
            breaker.failed(NOW, NOW);
        }
        breaker
    }

    #[test]
    fn five_failures_open_it_and_one_success_after_the_pause_closes_it() {
        let mut breaker = opened();
        assert_eq!(breaker.state(after(9)), BreakerState::Open { until: after(10) });
        assert!(!breaker.admit(after(9)));
        assert_eq!(breaker.state(after(10)), BreakerState::HalfOpen, "it waits for the trial");
        assert!(breaker.admit(after(10)), "the trial");
        assert!(!breaker.admit(after(10)), "one trial at a time");
        assert_eq!(breaker.state(after(10)), BreakerState::HalfOpen);
        breaker.succeeded(after(11));
        assert_eq!((breaker.state(after(11)), breaker.failures()), (BreakerState::Closed, 0));
    }

    #[test]
    fn every_failed_trial_doubles_the_pause_up_to_two_minutes() {
        let mut breaker = opened();
        let mut now = after(10);
        for pause in [20, 40, 80, 120, 120] {
            assert!(breaker.admit(now));
            breaker.failed(now, now);
            assert_eq!(breaker.state(now), BreakerState::Open { until: now + TimeDelta::seconds(pause) });
            now += TimeDelta::seconds(pause);
        }
    }

    #[test]
    fn a_lost_trial_is_repeated_and_an_undecided_one_at_once() {
        let mut breaker = opened();
        assert!(breaker.admit(after(10)));
        assert!(!breaker.admit(after(69)));
        assert!(breaker.admit(after(70)));
        breaker.undecided(after(71));
        assert!(breaker.admit(after(71)));
    }

    #[test]
    fn failures_among_more_successes_do_not_open_it_nor_do_old_ones() {
        let mut breaker = Breaker::default();
        for second in 0..100 {
            breaker.succeeded(after(second));
            breaker.succeeded(after(second));
            breaker.failed(after(second), after(second));
        }
        assert_eq!(breaker.state(after(99)), BreakerState::Closed);
        let mut slow = Breaker::default();
        for minute in 0..20 {
            slow.failed(after(minute * 61), after(minute * 61));
        }
        assert_eq!(slow.state(after(19 * 61)), BreakerState::Closed);
    }

    #[test]
    fn recipients_that_are_mute_while_others_are_not_do_not_open_it() {
        let mut breaker = Breaker::default();
        breaker.succeeded(after(9));
        for _ in 0..20 {
            breaker.failed(after(0), after(10));
        }
        assert_eq!(breaker.state(after(10)), BreakerState::Closed);
        for _ in 0..5 {
            breaker.failed(after(9), after(19));
        }
        assert_eq!(breaker.state(after(19)), BreakerState::Open { until: after(29) });
    }

    #[test]
    fn what_was_asked_before_it_opened_changes_nothing() {
        let mut breaker = opened();
        breaker.succeeded(after(1));
        breaker.failed(after(2), after(2));
        breaker.undecided(after(2));
        assert_eq!(breaker.state(after(2)), BreakerState::Open { until: after(10) });
    }
}
