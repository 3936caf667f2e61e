//! The owner of a session, honest. This is what honest means here:
//!
//! - The tabs of a browser share the newest pair that any of them got, and each call presents that one.
//! - Several tabs may refresh at once, at either replica. A call may get lost on its way, its answer may get lost, and it may arrive seconds after the
//!   others. Until then, and no longer than the ten seconds of grace, no tab refreshes with what the others got.
//! - Who got no answer comes back within ten minutes of the first call that may have arrived.

use chrono::{DateTime, Utc};
use rand::{RngExt, rngs::StdRng};

use super::{
    line::{PATIENCE, Pair},
    plan::Round,
};

/// How a call goes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fate {
    Answered,
    AnswerLost,
    NeverArrives,
    /// It arrives in the next round.
    Late,
}

pub struct Owner {
    pub pair: Pair,
    late: Vec<Pair>,
    unanswered_since: Option<DateTime<Utc>>,
}

impl Owner {
    pub fn new(pair: Pair) -> Self {
        Self { pair, late: Vec::new(), unanswered_since: None }
    }

    /// The calls that arrive in this round.
    pub fn calls(&mut self, rng: &mut StdRng, round: &Round, now: DateTime<Utc>) -> Vec<(Pair, Fate)> {
        let waited = self.unanswered_since.map_or(0, |since| (now - since).num_seconds());
        let patient = u64::try_from(waited + round.next).unwrap() <= PATIENCE.as_secs();
        if !self.late.is_empty() {
            let late = std::mem::take(&mut self.late);
            let fate = |rng: &mut StdRng| {
                if patient && rng.random_ratio(1, 4) { Fate::AnswerLost } else { Fate::Answered }
            };
            return late.into_iter().map(|pair| (pair, fate(rng))).collect();
        }
        if patient && rng.random_ratio(2, 5) {
            return Vec::new();
        }
        let tabs = [1, 1, 1, 2, 3][rng.random_range(0..5)];
        let mut fates: Vec<Fate> = (0..tabs)
            .map(|_| match rng.random_range(0..10) {
                0..5 => Fate::Answered,
                5..8 => Fate::AnswerLost,
                8 if round.next < 10 => Fate::Late,
                _ => Fate::NeverArrives,
            })
            .collect();
        if !patient {
            fates[0] = Fate::Answered;
        }
        let arrived_or_will = fates.iter().any(|&fate| fate != Fate::NeverArrives);
        if arrived_or_will {
            self.unanswered_since.get_or_insert(now);
        }
        self.late = fates.iter().filter(|&&fate| fate == Fate::Late).map(|_| self.pair.clone()).collect();
        let arriving = fates.into_iter().filter(|fate| matches!(fate, Fate::Answered | Fate::AnswerLost));
        arriving.map(|fate| (self.pair.clone(), fate)).collect()
    }

    /// A call that is neither lost nor late.
    pub fn refresh(&mut self) -> Vec<(Pair, Fate)> {
        vec![(self.pair.clone(), Fate::Answered)]
    }

    pub fn got(&mut self, pair: &Pair) {
        self.unanswered_since = None;
        if pair.generation >= self.pair.generation {
            self.pair = pair.clone();
        }
    }
}
