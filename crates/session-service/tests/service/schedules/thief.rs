//! A thief, who copied the owner's pair at some moment and goes on with it as it seems best.

use rand::{RngExt, rngs::StdRng};

use super::{line::Pair, owner::Fate};

pub struct Thief {
    stolen: Pair,
    pub pair: Pair,
    /// Whether the service ever heard of the thief.
    pub has_acted: bool,
}

impl Thief {
    pub fn new(stolen: Pair) -> Self {
        Self { pair: stolen.clone(), stolen, has_acted: false }
    }

    pub fn calls(&mut self, rng: &mut StdRng) -> Vec<(Pair, Fate)> {
        if rng.random_bool(0.5) {
            return Vec::new();
        }
        let again = rng.random_ratio(1, 6);
        let presented = if again { &self.stolen } else { &self.pair };
        let fate = if rng.random_ratio(1, 5) { Fate::AnswerLost } else { Fate::Answered };
        self.has_acted = true;
        vec![(presented.clone(), fate); rng.random_range(1..=2)]
    }

    pub fn refresh(&mut self) -> Vec<(Pair, Fate)> {
        self.has_acted = true;
        vec![(self.pair.clone(), Fate::Answered)]
    }

    pub fn got(&mut self, pair: &Pair) {
        if pair.generation >= self.pair.generation {
            self.pair = pair.clone();
        }
    }
}
