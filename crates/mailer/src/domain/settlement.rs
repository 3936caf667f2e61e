use std::time::Duration;

use chrono::{DateTime, Utc};

use super::{claim::Attempt, retry_ladder};

/// The longest part of a mail server's answer that is kept.
const MAX_REPLY_CHARS: usize = 500;

/// How often a mail is sent again although it may have been taken before.
const SECOND_CHANCES: u32 = 1;
/// A mail that so many workers died with is given up, because it may be what kills them. It need not be: a process that dies takes all its mails
/// with it, and counts for each of them.
const MOST_CRASHES: u32 = 5;

/// What came of one attempt to send.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Outcome {
    /// The provider took responsibility.
    Accepted(Reply),
    /// The provider will never take this mail.
    Refused(Reply),
    /// The provider asks to bring this mail later.
    Postponed(Reply),
    /// The provider cannot be reached, does not let us in or does not answer. The mail was certainly not taken, so another provider may be
    /// asked.
    Unavailable(Reply),
    /// The mail was handed over whole and the answer was lost: it may have been taken.
    Ambiguous(Reply),
    /// The mailer is being stopped, or another mail tries whether the provider is back; this one was certainly not taken.
    Interrupted(Reply),
    /// There is no mail to send: the command cannot be put into words.
    Unrenderable(Reply),
    /// Too many workers died with it, so nothing more was tried.
    Crashed(Reply),
}

/// What a mail server said, or what kept it from answering: one line, without control characters, of bounded length.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Reply(String);

impl Reply {
    /// Makes `text` fit to be stored.
    #[must_use]
    pub fn new(text: &str) -> Self {
        let one_line = text.chars().map(|c| if c.is_control() { ' ' } else { c });
        Self(one_line.take(MAX_REPLY_CHARS).collect())
    }

    /// The text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

/// What follows from an attempt.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Settlement {
    /// Done.
    Sent,
    /// To be tried again after this long.
    Deferred(Duration),
    /// Not to be tried again unless somebody wants it, for this reason.
    Failed(Failure),
    /// No further attempt would be in time.
    Expired,
}

/// Why a message failed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Failure {
    /// The provider will never take it.
    Refused,
    /// It cannot be put into words.
    Unrenderable,
    /// It may have been taken, twice.
    Ambiguous,
    /// Five workers died while they had it, of it or of something else.
    Crashed,
}

impl Failure {
    /// All of them.
    pub const ALL: &[Self] = &[Self::Refused, Self::Unrenderable, Self::Ambiguous, Self::Crashed];

    /// The stable code.
    #[must_use]
    pub fn code(self) -> &'static str {
        match self {
            Self::Refused => "refused",
            Self::Unrenderable => "unrenderable",
            Self::Ambiguous => "ambiguous",
            Self::Crashed => "crashed",
        }
    }
}

impl Settlement {
    /// What follows from `outcome` of `attempt`, at `now`, for a mail that expires at `expires_at`. `chance` is from 0 to 1.
    #[must_use]
    pub fn of(
        outcome: &Outcome,
        attempt: Attempt,
        now: DateTime<Utc>,
        expires_at: DateTime<Utc>,
        chance: f64,
    ) -> Self {
        match outcome {
            Outcome::Accepted(_) => Self::Sent,
            Outcome::Refused(_) => Self::Failed(Failure::Refused),
            Outcome::Unrenderable(_) => Self::Failed(Failure::Unrenderable),
            Outcome::Crashed(_) => Self::Failed(Failure::Crashed),
            Outcome::Ambiguous(_) if attempt.ambiguous >= SECOND_CHANCES => Self::Failed(Failure::Ambiguous),
            Outcome::Interrupted(_) => Self::Deferred(Duration::ZERO),
            Outcome::Ambiguous(_) | Outcome::Postponed(_) | Outcome::Unavailable(_) => {
                let times = attempt.deferrals.saturating_add(1);
                retry_ladder::delay(times, now, expires_at, chance).map_or(Self::Expired, Self::Deferred)
            }
        }
    }
}

impl Outcome {
    /// The end of `attempt` before anything is tried, if too many workers died with its mail.
    #[must_use]
    pub fn of_too_many_crashes(attempt: Attempt) -> Option<Self> {
        let reply = || Reply::new(&format!("{} workers died while they had this mail", attempt.crashes));
        (attempt.crashes >= MOST_CRASHES).then(|| Self::Crashed(reply()))
    }

    /// What was said.
    #[must_use]
    pub fn reply(&self) -> &Reply {
        match self {
            Self::Accepted(reply)
            | Self::Refused(reply)
            | Self::Postponed(reply)
            | Self::Unavailable(reply)
            | Self::Ambiguous(reply)
            | Self::Interrupted(reply)
            | Self::Unrenderable(reply)
            | Self::Crashed(reply) => reply,
        }
    }
}

#[cfg(test)]
mod tests {
    use chrono::TimeDelta;

    use super::*;

    const SECOND: Attempt =
        Attempt { number: 2, claimed_at: DateTime::UNIX_EPOCH, deferrals: 1, ambiguous: 0, crashes: 0 };

    fn of(outcome: fn(Reply) -> Outcome, attempt: Attempt, left: i64) -> Settlement {
        let now = DateTime::UNIX_EPOCH;
        Settlement::of(&outcome(Reply::new("451 later")), attempt, now, now + TimeDelta::seconds(left), 0.0)
    }

    #[test]
    fn only_what_may_help_is_tried_again_and_only_in_time() {
        assert_eq!(of(Outcome::Accepted, SECOND, 3600), Settlement::Sent);
        assert_eq!(of(Outcome::Refused, SECOND, 3600), Settlement::Failed(Failure::Refused));
        assert_eq!(of(Outcome::Unrenderable, SECOND, 3600), Settlement::Failed(Failure::Unrenderable));
        for outcome in [Outcome::Postponed, Outcome::Unavailable] {
            assert_eq!(of(outcome, SECOND, 3600), Settlement::Deferred(Duration::from_mins(1)));
            assert_eq!(of(outcome, SECOND, 5), Settlement::Expired);
        }
        assert_eq!(of(Outcome::Interrupted, SECOND, 3600), Settlement::Deferred(Duration::ZERO));
    }

    #[test]
    fn what_may_have_been_taken_is_sent_once_more_and_then_never_again() {
        assert_eq!(of(Outcome::Ambiguous, SECOND, 3600), Settlement::Deferred(Duration::from_mins(1)));
        let again = Attempt { ambiguous: 1, ..SECOND };
        assert_eq!(of(Outcome::Ambiguous, again, 3600), Settlement::Failed(Failure::Ambiguous));
        assert_eq!(of(Outcome::Postponed, again, 3600), Settlement::Deferred(Duration::from_mins(1)));
    }

    #[test]
    fn a_mail_that_five_workers_died_with_is_not_tried_by_the_sixth() {
        assert_eq!(Outcome::of_too_many_crashes(Attempt { crashes: 4, ..SECOND }), None);
        let sixth = Attempt { crashes: 5, ..SECOND };
        let outcome = Outcome::of_too_many_crashes(sixth).expect("nothing is tried");
        let settlement = Settlement::of(&outcome, sixth, DateTime::UNIX_EPOCH, DateTime::UNIX_EPOCH, 0.0);
        assert_eq!(settlement, Settlement::Failed(Failure::Crashed));
    }

    #[test]
    fn replies_are_one_bounded_line_that_postgres_can_store() {
        assert_eq!(Reply::new("550 no\r\n such\0 user").as_str(), "550 no   such  user");
        assert_eq!(Reply::new(&"ü".repeat(900)).as_str().chars().count(), 500);
    }
}
