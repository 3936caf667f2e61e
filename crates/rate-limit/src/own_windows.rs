//! The windows of this process, in bounded memory.

use std::{collections::HashMap, mem};

use crate::{decision::Decision, limit::Charge, window::Window};

/// How many windows there are at most.
const CAPACITY: usize = 100_000;

/// What this process allowed. Windows are in two generations: one that is used moves to the young one, and when that is full the old one goes, so
/// that the windows which were used last stay, at the cost of a map.
pub(crate) struct OwnWindows {
    young: Generation,
    old: Generation,
    generation_size: usize,
}

type Generation = HashMap<String, Kept>;

struct Kept {
    window: Window,
    ends: u64,
}

impl OwnWindows {
    pub(crate) fn new() -> Self {
        Self::with_capacity(CAPACITY)
    }

    fn with_capacity(capacity: usize) -> Self {
        Self { young: HashMap::new(), old: HashMap::new(), generation_size: capacity / 2 }
    }

    /// Charges all if all allow it.
    pub(crate) fn charge(&mut self, charges: &[Charge], replicas: u32, now: u64) -> Decision {
        let limits = charges.iter().map(|charge| charge.limit.share(replicas));
        let mut windows: Vec<_> = charges.iter().map(|charge| self.take(charge, now)).collect();
        let refusal = Decision::refusal(limits.clone().zip(&windows), now);
        if refusal.is_none() {
            charge_each(charges, &mut windows, now);
        }
        let decision = refusal.unwrap_or_else(|| Decision::allowed(limits.zip(&windows), now));
        self.keep(charges, windows, now);
        decision
    }

    /// Takes note of what was allowed elsewhere.
    pub(crate) fn record(&mut self, charges: &[Charge], now: u64) {
        let mut windows: Vec<_> = charges.iter().map(|charge| self.take(charge, now)).collect();
        charge_each(charges, &mut windows, now);
        self.keep(charges, windows, now);
    }

    fn take(&mut self, charge: &Charge, now: u64) -> Window {
        let key = charge.window_key();
        let kept = self.young.remove(&key).or_else(|| self.old.remove(&key));
        let mut window = kept.map(|it| it.window).unwrap_or_default();
        window.forget(&charge.limit, now);
        window
    }

    fn keep(&mut self, charges: &[Charge], windows: Vec<Window>, now: u64) {
        for (charge, window) in charges.iter().zip(windows) {
            let Some(ends) = window.ends(&charge.limit) else { continue };
            if self.young.len() >= self.generation_size {
                self.make_room(now);
            }
            self.young.insert(charge.window_key(), Kept { window, ends });
        }
    }

    /// Drops the windows that are over. Where that gives little, the young become the old; so this is not done again too soon.
    fn make_room(&mut self, now: u64) {
        self.young.retain(|_, kept| kept.ends > now);
        if self.young.len() > self.generation_size / 2 {
            self.old = mem::take(&mut self.young);
        }
    }
}

fn charge_each(charges: &[Charge], windows: &mut [Window], now: u64) {
    for (Charge { limit, .. }, window) in charges.iter().zip(windows) {
        window.charge(limit, now);
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::limit::Limit;

    const LIMIT: Limit = Limit { name: "test", quota: 6, window: Duration::from_mins(1) };

    fn charge(limit: Limit, key: impl Into<String>) -> Charge {
        Charge { limit, key: key.into() }
    }

    fn allowed(windows: &mut OwnWindows, charges: &[Charge], replicas: u32) -> usize {
        (0..20).filter(|_| windows.charge(charges, replicas, 0).is_allowed()).count()
    }

    #[test]
    fn a_replica_allows_its_share() {
        let mut windows = OwnWindows::new();
        assert_eq!(allowed(&mut windows, &[charge(LIMIT, "a")], 1), 6);
        assert_eq!(allowed(&mut windows, &[charge(LIMIT, "b")], 4), 1);
        assert_eq!(allowed(&mut windows, &[charge(LIMIT, "c")], 99), 1);
        assert_eq!(allowed(&mut windows, &[charge(Limit { quota: 0, ..LIMIT }, "d")], 1), 0);
    }

    #[test]
    fn what_was_allowed_elsewhere_counts() {
        let mut windows = OwnWindows::new();
        for _ in 0..2 {
            windows.record(&[charge(LIMIT, "a")], 0);
        }
        assert_eq!(allowed(&mut windows, &[charge(LIMIT, "a")], 2), 1);
    }

    #[test]
    fn what_is_refused_is_charged_nothing() {
        let mut windows = OwnWindows::new();
        let tight = Limit { name: "tight", quota: 1, ..LIMIT };
        assert_eq!(allowed(&mut windows, &[charge(LIMIT, "a"), charge(tight, "a")], 1), 1);
        assert_eq!(allowed(&mut windows, &[charge(LIMIT, "a")], 1), 5);
    }

    #[test]
    fn memory_is_bounded_and_the_windows_in_use_stay() {
        let mut windows = OwnWindows::with_capacity(100);
        let busy = [charge(Limit { quota: 10_000, ..LIMIT }, "busy")];
        for stranger in 0..10_000 {
            windows.record(&[charge(LIMIT, stranger.to_string())], 0);
            windows.record(&busy, 0);
            assert!(windows.young.len() + windows.old.len() <= 100);
        }
        assert!(!windows.charge(&busy, 1, 0).is_allowed());
    }

    #[test]
    fn windows_that_are_over_go_first() {
        let mut windows = OwnWindows::with_capacity(100);
        let day = Limit { name: "day", window: Duration::from_hours(24), ..LIMIT };
        for _ in 0..6 {
            windows.record(&[charge(day, "a")], 0);
        }
        for stranger in 0..1_000_u64 {
            windows.record(&[charge(LIMIT, stranger.to_string())], stranger * 10_000);
        }
        assert!(!windows.charge(&[charge(day, "a")], 1, 10_000_000).is_allowed());
    }
}
