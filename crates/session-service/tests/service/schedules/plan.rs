//! What all schedules of a batch have in common: when their rounds are.

use rand::{RngExt, rngs::StdRng};

const ROUNDS: usize = 7;
/// What the schedules do at their end, see [`super::schedule`].
pub const FINISHING: usize = 3;

pub struct Round {
    /// Seconds since the round before.
    pub gap: i64,
    /// Seconds until the next.
    pub next: i64,
    /// Whether access tokens are used in this round, which takes until that is stored.
    pub look: bool,
    /// Which one it is of those that end the schedules.
    pub finishing: Option<usize>,
}

pub struct Plan {
    pub rounds: Vec<Round>,
}

impl Plan {
    pub fn new(rng: &mut StdRng) -> Self {
        let mut gaps: Vec<i64> = (0..ROUNDS)
            .map(|_| match rng.random_range(0..10) {
                0..4 => rng.random_range(1..=9),
                4 => 10,
                5..8 => rng.random_range(11..=120),
                _ => rng.random_range(240..=590),
            })
            .collect();
        // Outside of the grace.
        gaps.extend([11; FINISHING]);
        let nexts = gaps.iter().copied().skip(1).chain([0]).collect::<Vec<_>>();
        let looks = [rng.random_range(0..ROUNDS), rng.random_range(0..ROUNDS)];
        let rounds = gaps.iter().zip(nexts).enumerate().map(|(number, (&gap, next))| Round {
            gap,
            next,
            look: looks.contains(&number),
            finishing: number.checked_sub(ROUNDS),
        });
        Self { rounds: rounds.collect() }
    }

    pub fn random_round(rng: &mut StdRng) -> usize {
        rng.random_range(0..ROUNDS)
    }
}
