use std::{
    num::NonZero,
    thread,
    time::{Duration, Instant},
};

use clock::random_bytes;
use serde::{Serialize, Serializer};

use super::{
    kernel::{Kernel, KernelError},
    phc::HashParameters,
};

const MEMORY_KIB: [u32; 7] = [19_456, 32_768, 47_104, 65_536, 98_304, 131_072, 262_144];
const PASSES: [u32; 6] = [2, 3, 4, 6, 8, 10];
/// Long enough for the clock of the processor to settle.
const MEASURED_FOR: Duration = Duration::from_millis(250);

/// What password hashes cost on this machine.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Calibration {
    /// What computes them.
    kernel: String,
    /// How many are computed at once.
    cores: usize,
    /// How long one may take.
    target_ms: u32,
    /// From the cheapest to the dearest that was measured.
    pub measurements: Vec<Measurement>,
    /// The dearest within the target while all cores hash; the floor, if it is already beyond.
    #[serde(rename = "environment", serialize_with = "as_environment")]
    pub recommended: Cost,
    /// Whether `recommended` is within the target.
    pub is_within_target: bool,
}

/// The cost of a hash.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Cost {
    /// Memory.
    pub memory_kib: u32,
    /// Passes.
    pub passes: u32,
}

/// The variables to set.
#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde passes fields so")]
fn as_environment<S: Serializer>(cost: &Cost, serializer: S) -> Result<S::Ok, S::Error> {
    serializer
        .collect_map([("PASSWORD_HASH_MEMORY_KIB", cost.memory_kib), ("PASSWORD_HASH_PASSES", cost.passes)])
}

/// How long hashes of one cost take.
#[derive(Debug, Clone, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Measurement {
    /// The cost.
    #[serde(flatten)]
    pub cost: Cost,
    /// Milliseconds of a hash while one core hashes.
    pub alone_ms: f64,
    /// Milliseconds of a hash while all cores hash.
    pub busy_ms: f64,
    /// Hashes a second of each core while all of them hash.
    pub per_core: f64,
    /// Hashes a second of all cores.
    pub per_second: f64,
    /// Memory while all cores hash.
    pub total_kib: u64,
}

impl Calibration {
    /// Measures this machine with every cost at or above the floor until one takes longer than `target`; with one amount of memory only where
    /// `memory_kib` is given.
    pub fn measure(kernel: Kernel, target_ms: u32, memory_kib: Option<u32>) -> anyhow::Result<Self> {
        let cores = thread::available_parallelism().map_or(1, NonZero::get);
        let mut measurements = Vec::new();
        for memory_kib in memory_kib.map_or_else(|| MEMORY_KIB.to_vec(), |only| vec![only]) {
            for passes in PASSES {
                let measured = measure(kernel, cores, Cost { memory_kib, passes })?;
                let is_too_slow = measured.busy_ms > f64::from(target_ms);
                measurements.push(measured);
                if is_too_slow {
                    break;
                }
            }
            let cheapest =
                measurements.iter().rfind(|one| one.cost.memory_kib == memory_kib && one.cost.passes == 2);
            if cheapest.is_some_and(|one| one.busy_ms > f64::from(target_ms)) {
                break;
            }
        }
        let (recommended, is_within_target) = recommend(&measurements, target_ms)?;
        Ok(Self { kernel: kernel.to_string(), cores, target_ms, measurements, recommended, is_within_target })
    }
}

impl std::fmt::Display for Calibration {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        writeln!(f, "kernel {}, {} cores, at most {} ms a hash\n", self.kernel, self.cores, self.target_ms)?;
        writeln!(f, "memory KiB  passes  ms alone  ms busy  hashes/s per core  hashes/s  MiB in all")?;
        for one in &self.measurements {
            writeln!(
                f,
                "{:>10}  {:>6}  {:>8.1}  {:>7.1}  {:>17.1}  {:>8.1}  {:>10}",
                one.cost.memory_kib,
                one.cost.passes,
                one.alone_ms,
                one.busy_ms,
                one.per_core,
                one.per_second,
                one.total_kib / 1024,
            )?;
        }
        if !self.is_within_target {
            writeln!(f, "\nThe least that is accepted takes longer than {} ms here.", self.target_ms)?;
        }
        let Cost { memory_kib, passes } = self.recommended;
        write!(f, "\nPASSWORD_HASH_MEMORY_KIB={memory_kib}\nPASSWORD_HASH_PASSES={passes}")
    }
}

/// The most work within the target; of two with the same work the one with more memory, which is what machines for guessing lack.
fn recommend(measurements: &[Measurement], target_ms: u32) -> anyhow::Result<(Cost, bool)> {
    let work = |cost: Cost| (u64::from(cost.memory_kib) * u64::from(cost.passes), cost.memory_kib);
    let within = measurements.iter().filter(|one| one.busy_ms <= f64::from(target_ms));
    if let Some(best) = within.max_by_key(|one| work(one.cost)) {
        return Ok((best.cost, true));
    }
    let cheapest = measurements.iter().min_by_key(|one| work(one.cost));
    Ok((cheapest.ok_or_else(|| anyhow::anyhow!("nothing was measured"))?.cost, false))
}

fn measure(kernel: Kernel, cores: usize, cost: Cost) -> anyhow::Result<Measurement> {
    let alone_ms = hash_on(kernel, 1, cost)?;
    let busy_ms = if cores == 1 { alone_ms } else { hash_on(kernel, cores, cost)? };
    let per_core = 1000.0 / busy_ms;
    let threads = u32::try_from(cores)?;
    Ok(Measurement {
        cost,
        alone_ms,
        busy_ms,
        per_core,
        per_second: per_core * f64::from(threads),
        total_kib: u64::from(cost.memory_kib) * u64::from(threads),
    })
}

/// The mean milliseconds of a hash while that many threads hash.
fn hash_on(kernel: Kernel, threads: usize, cost: Cost) -> anyhow::Result<f64> {
    let means = thread::scope(|scope| {
        let running: Vec<_> = (0..threads).map(|_| scope.spawn(|| hash_for_a_while(kernel, cost))).collect();
        running.into_iter().map(|thread| thread.join().ok()).collect::<Option<Vec<_>>>()
    });
    let means = means.ok_or_else(|| anyhow::anyhow!("a hash panicked"))?;
    let total = means.into_iter().sum::<Result<f64, KernelError>>()?;
    Ok(total / f64::from(u32::try_from(threads)?))
}

fn hash_for_a_while(kernel: Kernel, cost: Cost) -> Result<f64, KernelError> {
    let Cost { memory_kib, passes } = cost;
    let parameters = HashParameters { memory_kib, passes, ..HashParameters::FLOOR };
    let salt = random_bytes(&mut clock::secure_rng());
    let mut workspace = kernel.workspace();
    // The first one also asks the system for memory.
    workspace.tag(b"a password to measure with", &salt, parameters)?;
    let (started, mut hashes) = (Instant::now(), 0_u32);
    while hashes < 2 || started.elapsed() < MEASURED_FOR {
        workspace.tag(b"a password to measure with", &salt, parameters)?;
        hashes += 1;
    }
    Ok(started.elapsed().as_secs_f64() * 1000.0 / f64::from(hashes))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn measured(memory_kib: u32, passes: u32, busy_ms: f64) -> Measurement {
        let cost = Cost { memory_kib, passes };
        Measurement { cost, alone_ms: busy_ms, busy_ms, per_core: 1.0, per_second: 2.0, total_kib: 1 }
    }

    #[test]
    fn the_most_work_within_the_target_is_recommended_memory_first() {
        let all = [
            measured(20_000, 2, 10.0),
            measured(20_000, 4, 20.0),
            measured(40_000, 2, 20.0),
            measured(40_000, 3, 31.0),
        ];
        assert_eq!(recommend(&all, 30).unwrap(), (Cost { memory_kib: 40_000, passes: 2 }, true));
        assert_eq!(recommend(&all, 50).unwrap(), (Cost { memory_kib: 40_000, passes: 3 }, true));
        assert_eq!(recommend(&all, 5).unwrap(), (Cost { memory_kib: 20_000, passes: 2 }, false));
    }

    #[test]
    fn a_machine_is_measured_from_the_floor_on() {
        let floor = HashParameters::FLOOR;
        let calibration = Calibration::measure(Kernel::Simd, 1, Some(floor.memory_kib)).unwrap();
        let [only] = calibration.measurements.as_slice() else {
            panic!("the first one takes longer than 1 ms")
        };
        assert!(only.busy_ms > 1.0 && only.per_second > 0.0);
        assert_eq!(calibration.recommended, Cost { memory_kib: floor.memory_kib, passes: floor.passes });
        let json = serde_json::to_value(&calibration).unwrap();
        assert_eq!(json["environment"]["PASSWORD_HASH_MEMORY_KIB"], floor.memory_kib);
        assert!(calibration.to_string().ends_with("PASSWORD_HASH_PASSES=2"));
    }
}
