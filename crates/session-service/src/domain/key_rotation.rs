//! How one signing key follows another without anybody noticing: it is published, it signs, and the one before it is retired.

use access_tokens::MAX_TTL;
use chrono::{DateTime, TimeDelta, Utc};

/// How long verifiers have to learn a key before anything is signed with it: more than twice as long as any of them may believe an older list.
/// auth-api keeps the list for a minute, and `/.well-known/paserk.json` may be cached for five more. Those who watch the revocations know at once.
pub const PUBLISHED_FOR: TimeDelta = TimeDelta::minutes(15);
/// A replica's clock may be behind by less than this.
const CLOCK_SKEW: TimeDelta = TimeDelta::minutes(1);
/// A dropped key ends this long ago, so that no replica's clock is before that; and from then on the new one signs.
const DROPPED_SINCE: TimeDelta = TimeDelta::minutes(5);
/// How long a retired key can still be looked up by those who find its id somewhere.
pub const KEPT_FOR: TimeDelta = TimeDelta::days(30);

/// When the next key begins, and when those before it end.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Handover {
    pub not_before: DateTime<Utc>,
    pub others_retire_at: DateTime<Utc>,
}

impl Handover {
    /// Every verifier learns the next key before it is used, and the ones before it verify until their last tokens have expired.
    pub fn smooth(now: DateTime<Utc>) -> Self {
        let not_before = now + PUBLISHED_FOR;
        // Replicas may be configured with different lifetimes; none is longer than this.
        Self { not_before, others_retire_at: not_before + MAX_TTL + CLOCK_SKEW }
    }

    /// The keys in use may be known to somebody else: their tokens die now.
    pub fn abrupt(now: DateTime<Utc>) -> Self {
        let since = now - DROPPED_SINCE;
        Self { not_before: since, others_retire_at: since }
    }

    /// There is no other key, so nobody trusts one.
    pub fn first(now: DateTime<Utc>) -> Self {
        Self { not_before: now, others_retire_at: now }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_overlap_by_more_than_the_longest_life_of_a_token_and_a_dropped_one_by_nothing() {
        let now = "2030-01-01T00:00:00Z".parse().unwrap();
        let smooth = Handover::smooth(now);
        assert!(smooth.not_before - now >= TimeDelta::minutes(6) * 2);
        assert!(smooth.others_retire_at - smooth.not_before > MAX_TTL);
        let abrupt = Handover::abrupt(now);
        assert!(abrupt.not_before < now && abrupt.others_retire_at < now);
    }
}
