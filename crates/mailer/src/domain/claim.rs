use chrono::{DateTime, TimeDelta, Utc};

/// How long a worker may be silent before its message is taken from it. A mail takes 30 s at most, so who is silent for
/// longer than this is dead.
pub const STALE_AFTER: TimeDelta = TimeDelta::minutes(2);

/// What came of asking for the right to send a message.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Claim {
    /// It is ours; the number of the attempt is also the proof of ownership.
    Won {
        /// The first attempt is 1.
        attempt: u32,
    },
    /// Another worker is sending it, or it is not due yet.
    NotNow,
    /// It has just expired.
    Expired,
    /// It was sent, failed or expired before.
    Over,
}

/// Claims made before this, as seen at `now`, are stale.
#[must_use]
pub fn stale_before(now: DateTime<Utc>) -> DateTime<Utc> {
    now - STALE_AFTER
}
