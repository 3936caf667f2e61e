//! Argon2id alone, by the fastest kernel that we know, on all cores.

use std::{
    num::NonZero,
    thread,
    time::{Duration, Instant},
};

use anyhow::anyhow;
use argon2_rust::{
    Algorithm, Argon2, Hasher, Params, Version,
    params::{Memory, TagLen},
};
use clock::random_bytes;

/// The cost that auth-api hashes with when nothing else is configured: OWASP's recommendation.
const MEMORY_KIB: u64 = 19_456;
const PASSES: u32 = 2;
const LANES: u32 = 1;
const TAG_BYTES: usize = 32;

/// Hashes on every core for so long; the hashes a second.
pub fn rate(duration: Duration) -> anyhow::Result<f64> {
    let cores = thread::available_parallelism().map_or(1, NonZero::get);
    let rates = thread::scope(|scope| {
        let running: Vec<_> = (0..cores).map(|_| scope.spawn(|| rate_of_thread(duration))).collect();
        let rates =
            running.into_iter().map(|thread| thread.join().map_err(|_| anyhow!("a hash panicked"))?);
        rates.collect::<anyhow::Result<Vec<f64>>>()
    })?;
    Ok(rates.into_iter().sum())
}

fn rate_of_thread(duration: Duration) -> anyhow::Result<f64> {
    let mut hasher = hasher()?;
    // The first one also asks the system for memory.
    hash(&mut hasher)?;
    let (started, mut count) = (Instant::now(), 0_u32);
    while started.elapsed() < duration {
        hash(&mut hasher)?;
        count += 1;
    }
    Ok(f64::from(count) / started.elapsed().as_secs_f64())
}

fn hasher() -> anyhow::Result<Hasher> {
    let params = Params::builder()
        .memory(Memory::kib(MEMORY_KIB))
        .passes(PASSES)
        .lanes(LANES)
        .tag_len(TagLen::bytes(TAG_BYTES as u64))
        .build()
        .map_err(|error| anyhow!("{error}"))?;
    Ok(Argon2::new(Algorithm::Argon2id, Version::V0x13, params).hasher())
}

fn hash(hasher: &mut Hasher) -> anyhow::Result<()> {
    let salt: [u8; 16] = random_bytes(&mut clock::secure_rng());
    let mut tag = [0; TAG_BYTES];
    hasher.hash_into(b"CorrectHorseBattery1", &salt, &mut tag).map_err(|error| anyhow!("{error}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hashes_are_computed() {
        assert!(rate(Duration::from_millis(20)).unwrap() > 1.0);
    }
}
