use std::time::Duration;

use chrono::{DateTime, TimeDelta, Utc};

/// How long a worker may be silent before its message is taken from it. A mail takes 30 s at most, so who is silent for
/// longer than this is dead.
pub const STALE_AFTER: TimeDelta = TimeDelta::minutes(2);

/// The right to try once.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Attempt {
    /// The first attempt is 1. The number is also the proof of ownership.
    pub number: u32,
    /// When it began.
    pub claimed_at: DateTime<Utc>,
    /// How often the message was put off since it was queued.
    pub deferrals: u32,
    /// How often it may have been taken without our knowing, since it was queued.
    pub ambiguous: u32,
    /// How often a worker took it and did not say what came of it, since it was queued: nearly always because its process died.
    pub crashes: u32,
}

impl Attempt {
    /// Whether somebody else may take the message at `now`.
    #[must_use]
    pub fn is_stale(&self, now: DateTime<Utc>) -> bool {
        self.claimed_at < stale_before(now)
    }
}

/// What came of asking for the right to send a message.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Claim {
    /// It is ours.
    Won(Attempt),
    /// Another worker is sending it, it is not due, or others to its domain are under way: it is looked at again after this long.
    NotNow(Duration),
    /// It has just expired.
    Expired,
    /// A later message of its kind has just taken its place, or was there first.
    Superseded,
    /// There is nothing to do: it was sent or given up before.
    Over,
}

/// Claims made before this, as seen at `now`, are stale.
#[must_use]
pub fn stale_before(now: DateTime<Utc>) -> DateTime<Utc> {
    now - STALE_AFTER
}
