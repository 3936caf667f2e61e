use std::{
    sync::atomic::{AtomicI64, AtomicU64, Ordering},
    time::Duration,
};

use chrono::{DateTime, Utc};
use tokio::time::Instant;

/// Who has heard nothing for so long may have missed a revocation.
pub(crate) const LEASE: Duration = Duration::from_secs(3);
/// How much earlier than the revocations that we know of a token may say that it was minted, for replicas whose clocks differ.
const SKEW_SECONDS: i64 = 30;

/// For how long, and for which tokens, the revocations that we know of are all there are.
#[derive(Debug)]
pub(crate) struct Lease {
    origin: Instant,
    /// Nanoseconds from the origin to the last heartbeat; 0 before the first.
    heard: AtomicU64,
    /// Seconds of Unix time.
    covers_since: AtomicI64,
}

/// What the lease said at one moment.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Coverage(Option<i64>);

impl Lease {
    pub fn new() -> Self {
        Self { origin: Instant::now(), heard: AtomicU64::new(0), covers_since: AtomicI64::new(i64::MAX) }
    }

    /// Every revocation since `covers_since` is known as of now. Tell the lease after the revocations: who sees it renewed then sees them too.
    pub fn renew(&self, covers_since: Option<DateTime<Utc>>) {
        let covers_since = covers_since.map_or(i64::MAX, |time| {
            time.timestamp().saturating_add(i64::from(time.timestamp_subsec_nanos() > 0))
        });
        self.covers_since.store(covers_since, Ordering::Release);
        let heard = u64::try_from(self.origin.elapsed().as_nanos()).unwrap_or(u64::MAX);
        self.heard.store(heard.max(1), Ordering::Release);
    }

    /// What the lease says now. Read it before the revocations: they only ever become more.
    pub fn coverage(&self) -> Coverage {
        let covered = self.age().is_some_and(|age| age <= LEASE);
        Coverage(covered.then(|| self.covers_since.load(Ordering::Acquire)))
    }

    /// How long ago it was renewed; `None` if it never was.
    pub fn age(&self) -> Option<Duration> {
        let heard = self.heard.load(Ordering::Acquire);
        (heard != 0).then(|| self.origin.elapsed().saturating_sub(Duration::from_nanos(heard)))
    }

    /// How long nothing was heard, counted from the beginning if it was nothing at all.
    pub fn lag(&self) -> Duration {
        self.age().unwrap_or_else(|| self.origin.elapsed())
    }
}

impl Coverage {
    /// Whether it holds at all.
    pub fn is_current(self) -> bool {
        self.0.is_some()
    }

    /// Whether every revocation of a token that was minted at `issued_at` is known.
    pub fn includes(self, issued_at: DateTime<Utc>) -> bool {
        self.0.is_some_and(|since| since.saturating_add(SKEW_SECONDS) <= issued_at.timestamp())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn time(seconds: i64) -> DateTime<Utc> {
        DateTime::from_timestamp(1_900_000_000 + seconds, 0).unwrap()
    }

    #[test]
    fn nothing_is_covered_before_the_first_heartbeat() {
        let lease = Lease::new();
        assert!(lease.age().is_none());
        assert!(!lease.coverage().is_current());
        assert!(!lease.coverage().includes(time(0)));
    }

    #[test]
    fn tokens_are_covered_from_half_a_minute_after_the_oldest_revocation() {
        let lease = Lease::new();
        lease.renew(Some(time(0)));
        assert!(!lease.coverage().includes(time(29)));
        assert!(lease.coverage().includes(time(30)));
        lease.renew(Some(time(0) + Duration::from_nanos(1)));
        assert!(!lease.coverage().includes(time(30)), "a fraction of a second counts as a whole one");
    }

    #[test]
    fn a_heartbeat_that_does_not_say_since_when_covers_nothing() {
        let lease = Lease::new();
        lease.renew(None);
        assert!(lease.coverage().is_current());
        assert!(!lease.coverage().includes(DateTime::<Utc>::MAX_UTC));
    }
}
