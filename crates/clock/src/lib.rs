#![doc = include_str!("../README.md")]
#![warn(missing_docs)]

use std::{fmt::Debug, ops::Range, sync::Arc};

use chrono::{DateTime, TimeDelta, Utc};
use parking_lot::Mutex;
pub use rand::CryptoRng;
use rand::RngExt as _;

/// A source of the current time.
pub trait Clock: Debug + Send + Sync {
    /// The current time in UTC.
    fn now(&self) -> DateTime<Utc>;
}

/// A clock that is handed around.
pub type SharedClock = Arc<dyn Clock>;

/// The operating system's clock.
#[derive(Debug, Clone, Copy, Default)]
pub struct SystemClock;

impl Clock for SystemClock {
    #[expect(clippy::disallowed_methods, reason = "the one place that reads the system's clock")]
    fn now(&self) -> DateTime<Utc> {
        Utc::now()
    }
}

/// A clock that stands still until it is told to move; for tests.
#[derive(Debug)]
pub struct ManualClock(Mutex<DateTime<Utc>>);

impl ManualClock {
    /// A clock that shows `now`.
    #[must_use]
    pub fn new(now: DateTime<Utc>) -> Self {
        Self(Mutex::new(now))
    }

    /// Moves the clock forward, or back when `by` is negative.
    pub fn advance(&self, by: TimeDelta) {
        *self.0.lock() += by;
    }
}

impl Clock for ManualClock {
    fn now(&self) -> DateTime<Utc> {
        *self.0.lock()
    }
}

/// The operating system's randomness through a per-thread, regularly reseeded `ChaCha12` generator.
#[must_use]
#[expect(clippy::disallowed_methods, reason = "the one place that reads the system's randomness")]
pub fn secure_rng() -> impl CryptoRng {
    rand::rng()
}

/// `N` random bytes.
pub fn random_bytes<const N: usize>(rng: &mut (impl CryptoRng + ?Sized)) -> [u8; N] {
    let mut bytes = [0; N];
    rng.fill_bytes(&mut bytes);
    bytes
}

/// A random number from `range`, for delays and samples.
///
/// # Panics
/// When `range` is empty.
#[must_use]
pub fn random_range(range: Range<u64>) -> u64 {
    secure_rng().random_range(range)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_manual_clock_moves_only_when_told() {
        let clock = ManualClock::new(DateTime::UNIX_EPOCH);
        assert_eq!(clock.now(), DateTime::UNIX_EPOCH);
        clock.advance(TimeDelta::seconds(90));
        assert_eq!(clock.now().timestamp(), 90);
    }
}
