//! The rule: what was charged when, and what that leaves. Times are milliseconds since any fixed moment.

use std::time::Duration;

use crate::{decision::Standing, limit::Limit};

/// How many slices make a window. The current one counts in addition, which is why no period of a window's length escapes, and why charges are
/// forgotten up to a slice late.
pub(crate) const SLICES: u64 = 10;

/// How much was charged in each slice that still counts, oldest first.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Window(Vec<Slice>);

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Slice {
    /// How many slices came before it since the beginning of time.
    number: u64,
    charged: u32,
}

impl Slice {
    fn forgotten_at(self, limit: &Limit) -> u64 {
        (self.number + SLICES + 1).saturating_mul(limit.slice_width())
    }
}

impl Window {
    /// Reads `number=charged` pairs. What is not one is no slice.
    pub(crate) fn parse(text: &str) -> Self {
        let slice = |pair: &str| {
            let (number, charged) = pair.split_once('=')?;
            Some(Slice { number: number.parse().ok()?, charged: charged.parse().ok()? })
        };
        Self(text.split_ascii_whitespace().filter_map(slice).collect())
    }

    /// Drops what no longer counts.
    pub(crate) fn forget(&mut self, limit: &Limit, now: u64) {
        self.0.retain(|slice| slice.forgotten_at(limit) > now);
    }

    pub(crate) fn charge(&mut self, limit: &Limit, now: u64) {
        let number = now / limit.slice_width();
        match self.0.last_mut() {
            Some(slice) if slice.number >= number => slice.charged = slice.charged.saturating_add(1),
            _ => self.0.push(Slice { number, charged: 1 }),
        }
    }

    /// How long until another charge is allowed; nothing if it is already.
    pub(crate) fn wait(&self, limit: &Limit, now: u64) -> Option<Duration> {
        let mut used = self.used();
        if used < limit.quota {
            return None;
        }
        for slice in &self.0 {
            used = used.saturating_sub(slice.charged);
            if used < limit.quota {
                return Some(Duration::from_millis(slice.forgotten_at(limit).saturating_sub(now)));
            }
        }
        // Of a quota of nothing nothing ever becomes free.
        Some(limit.window)
    }

    pub(crate) fn standing(&self, limit: &Limit, now: u64) -> Standing {
        let oldest = self.0.first().map_or(now, |slice| slice.forgotten_at(limit));
        Standing {
            name: limit.name,
            quota: limit.quota,
            remaining: limit.quota.saturating_sub(self.used()),
            resets_in: Duration::from_millis(oldest.saturating_sub(now)),
            window: limit.window,
        }
    }

    /// When everything in it will be forgotten; nothing if it is empty.
    pub(crate) fn ends(&self, limit: &Limit) -> Option<u64> {
        self.0.last().map(|slice| slice.forgotten_at(limit))
    }

    fn used(&self) -> u32 {
        self.0.iter().fold(0, |sum, slice| sum.saturating_add(slice.charged))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const LIMIT: Limit = Limit { name: "test", quota: 5, window: Duration::from_mins(1) };

    fn charge_if_allowed(window: &mut Window, now: u64) -> bool {
        window.forget(&LIMIT, now);
        let allowed = window.wait(&LIMIT, now).is_none();
        if allowed {
            window.charge(&LIMIT, now);
        }
        allowed
    }

    /// Pauses without a pattern, the same in each run.
    fn pauses(longest: u64) -> impl Iterator<Item = u64> {
        let mut state = 42_u64;
        std::iter::repeat_with(move || {
            state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            (state >> 33) % longest
        })
    }

    #[test]
    fn no_period_of_a_windows_length_has_more_than_the_quota() {
        for longest_pause in [2, 500, 8_000, 20_000] {
            let mut window = Window::default();
            let mut allowed = Vec::new();
            let mut now = 1_000_000;
            for pause in pauses(longest_pause).take(20_000) {
                now += pause;
                if charge_if_allowed(&mut window, now) {
                    allowed.push(now);
                }
            }
            for period in allowed.windows(LIMIT.quota as usize + 1) {
                assert!(period.last().unwrap() - period.first().unwrap() >= 60_000, "{period:?}");
            }
        }
    }

    #[test]
    fn who_keeps_just_below_the_limit_is_never_refused() {
        let mut window = Window::default();
        assert!((0..1_000).map(|n| n * 14_000).all(|now| charge_if_allowed(&mut window, now)));
    }

    #[test]
    fn all_of_the_quota_may_be_used_at_once_and_comes_back_at_once() {
        let mut window = Window::default();
        assert_eq!((0..9).filter(|_| charge_if_allowed(&mut window, 7_000)).count(), 5);
        assert!(!charge_if_allowed(&mut window, 71_999));
        assert_eq!((0..9).filter(|_| charge_if_allowed(&mut window, 72_000)).count(), 5);
    }

    #[test]
    fn after_the_wait_it_is_allowed_and_not_before() {
        let mut window = Window::default();
        let mut now = 5_000;
        for pause in pauses(9_000).take(2_000) {
            now += pause;
            window.forget(&LIMIT, now);
            if let Some(wait) = window.wait(&LIMIT, now) {
                let wait = u64::try_from(wait.as_millis()).unwrap();
                assert!(wait <= 66_000);
                assert!(!charge_if_allowed(&mut window, now + wait - 1));
                now += wait;
            }
            assert!(charge_if_allowed(&mut window, now));
        }
    }

    #[test]
    fn a_standing_tells_what_is_left_and_until_when() {
        let mut window = Window::default();
        window.charge(&LIMIT, 7_000);
        window.charge(&LIMIT, 20_000);
        let standing = window.standing(&LIMIT, 30_000);
        assert_eq!((standing.remaining, standing.resets_in), (3, Duration::from_secs(42)));
        assert_eq!(window.ends(&LIMIT), Some(84_000));
    }

    #[test]
    fn a_quota_that_was_lowered_is_waited_for_until_enough_is_forgotten() {
        let mut window = Window::parse("1=2 2=2 3=1");
        let lower = Limit { quota: 2, ..LIMIT };
        assert_eq!(window.wait(&lower, 24_000), Some(Duration::from_secs(54)));
        window.forget(&lower, 78_000);
        assert_eq!(window, Window::parse("3=1"));
        assert_eq!(Window::default().wait(&Limit { quota: 0, ..LIMIT }, 0), Some(LIMIT.window));
    }

    #[test]
    fn what_is_no_window_is_an_empty_one() {
        for text in ["", "nonsense", "1=", "=1", "1=-1 x=2"] {
            assert_eq!(Window::parse(text), Window::default(), "{text}");
        }
    }
}
