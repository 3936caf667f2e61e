use std::time::Duration;

use chrono::{DateTime, Utc};

use super::retry_ladder;

/// The longest part of a mail server's answer that is kept.
const MAX_REPLY_CHARS: usize = 500;

/// What came of one attempt to send.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Outcome {
    /// The mail server took responsibility.
    Accepted(Reply),
    /// The mail server will never take this mail.
    Refused(Reply),
    /// It can be tried again: the server said so, cannot be reached, or its answer was lost.
    Postponed(Reply),
    /// There is no mail to send: the command cannot be put into words.
    Unrenderable(Reply),
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
    /// Never to be tried again, for the reason with this code.
    Failed(&'static str),
    /// No further attempt would be in time.
    Expired,
}

impl Settlement {
    /// What follows from `outcome` of attempt number `attempt`, at `now`, for a mail that expires at `expires_at`.
    #[must_use]
    pub fn of(outcome: &Outcome, attempt: u32, now: DateTime<Utc>, expires_at: DateTime<Utc>) -> Self {
        match outcome {
            Outcome::Accepted(_) => Self::Sent,
            Outcome::Refused(_) => Self::Failed("refused"),
            Outcome::Unrenderable(_) => Self::Failed("unrenderable"),
            Outcome::Postponed(_) => {
                retry_ladder::delay(attempt, now, expires_at).map_or(Self::Expired, Self::Deferred)
            }
        }
    }
}

impl Outcome {
    /// What was said.
    #[must_use]
    pub fn reply(&self) -> &Reply {
        match self {
            Self::Accepted(reply)
            | Self::Refused(reply)
            | Self::Postponed(reply)
            | Self::Unrenderable(reply) => reply,
        }
    }
}

#[cfg(test)]
mod tests {
    use chrono::TimeDelta;

    use super::*;

    #[test]
    fn only_what_may_help_is_tried_again_and_only_in_time() {
        let now = DateTime::UNIX_EPOCH;
        let of = |outcome: fn(Reply) -> Outcome, left: i64| {
            Settlement::of(&outcome(Reply::new("451 later")), 2, now, now + TimeDelta::seconds(left))
        };
        assert_eq!(of(Outcome::Accepted, 3600), Settlement::Sent);
        assert_eq!(of(Outcome::Refused, 3600), Settlement::Failed("refused"));
        assert_eq!(of(Outcome::Unrenderable, 3600), Settlement::Failed("unrenderable"));
        assert_eq!(of(Outcome::Postponed, 3600), Settlement::Deferred(Duration::from_mins(1)));
        assert_eq!(of(Outcome::Postponed, 5), Settlement::Expired);
    }

    #[test]
    fn replies_are_one_bounded_line_that_postgres_can_store() {
        assert_eq!(Reply::new("550 no\r\n such\0 user").as_str(), "550 no   such  user");
        assert_eq!(Reply::new(&"ü".repeat(900)).as_str().chars().count(), 500);
    }
}
