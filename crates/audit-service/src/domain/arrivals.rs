//! Which facts of a publishing connection arrived. Without I/O: what arrives is fed in, in any order and any number of times.

use chrono::{DateTime, TimeDelta, Utc};
use serde::{Deserialize, Serialize};

/// Messages overtake each other when consumers or leaders change, and one may wait unacknowledged at another replica. What
/// is missing for longer than that is not late.
pub const LATE: TimeDelta = TimeDelta::minutes(5);
/// Nobody needs more of them to know that something is wrong; the rest counts as lost at once.
const MOST_HOLES: usize = 1_000;

/// What arrived of one connection.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Arrivals {
    /// Everything up to here arrived or is in a hole.
    pub highest: i64,
    /// The broker confirmed everything up to here.
    pub settled: i64,
    pub holes: Vec<Hole>,
}

/// Numbers that did not arrive yet.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Hole {
    pub first: i64,
    pub last: i64,
    pub since: DateTime<Utc>,
}

impl Arrivals {
    /// A message arrived that has this number, and says that everything up to `settled` was confirmed.
    pub fn arrive(&mut self, number: i64, settled: i64, now: DateTime<Utc>) {
        self.settled = self.settled.max(settled);
        if number > self.highest {
            if number > self.highest + 1 {
                self.holes.push(Hole { first: self.highest + 1, last: number - 1, since: now });
            }
            self.highest = number;
        } else if let Some(index) =
            self.holes.iter().position(|hole| (hole.first..=hole.last).contains(&number))
        {
            let hole = self.holes.remove(index);
            let parts = [Hole { last: number - 1, ..hole.clone() }, Hole { first: number + 1, ..hole }];
            self.holes.extend(parts.into_iter().filter(|part| part.first <= part.last));
        }
    }

    /// How many were confirmed and did not arrive for too long. Each is counted once.
    pub fn lost(&mut self, now: DateTime<Utc>) -> i64 {
        let mut lost = 0;
        let mut kept = Vec::with_capacity(self.holes.len());
        for mut hole in self.holes.drain(..) {
            let settled = hole.last.min(self.settled);
            let is_late = now - hole.since >= LATE || kept.len() >= MOST_HOLES;
            if is_late && settled >= hole.first {
                lost += settled - hole.first + 1;
                hole.first = settled + 1;
            }
            if hole.first <= hole.last {
                kept.push(hole);
            }
        }
        self.holes = kept;
        lost
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(minutes: i64) -> DateTime<Utc> {
        DateTime::UNIX_EPOCH + TimeDelta::minutes(minutes)
    }

    fn after(numbers: &[i64]) -> Arrivals {
        let mut arrivals = Arrivals::default();
        for number in numbers {
            arrivals.arrive(*number, 0, at(0));
        }
        arrivals
    }

    #[test]
    fn order_and_repetition_do_not_matter() {
        for numbers in [[1, 2, 3, 4, 5, 5], [5, 4, 3, 2, 1, 1], [3, 3, 5, 1, 4, 2]] {
            let mut arrivals = after(&numbers);
            arrivals.settled = 5;
            assert_eq!((arrivals.highest, arrivals.holes.len()), (5, 0), "{numbers:?}");
            assert_eq!(arrivals.lost(at(60)), 0);
        }
    }

    #[test]
    fn what_was_confirmed_and_stays_away_is_lost_once() {
        let mut arrivals = after(&[1, 2, 6]);
        assert_eq!(arrivals.lost(at(60)), 0, "nobody said that it was confirmed");
        arrivals.arrive(7, 4, at(1));
        assert_eq!(arrivals.lost(at(4)), 0, "it may be late");
        assert_eq!(arrivals.lost(at(5)), 2);
        assert_eq!(arrivals.lost(at(6)), 0);
        // The number that was not confirmed comes with another message.
        arrivals.arrive(5, 4, at(6));
        arrivals.arrive(8, 7, at(6));
        assert_eq!((arrivals.lost(at(60)), arrivals.holes.len()), (0, 0));
    }
}
