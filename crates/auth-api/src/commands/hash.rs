//! `auth-api hash …`

use std::process::ExitCode;

use clap::Subcommand;

use crate::password::{Calibration, HashParameters, Kernel, KernelChoice};

/// `auth-api hash …`
#[derive(Subcommand)]
pub enum HashCommand {
    /// Measures this machine and recommends what a hash should cost. Run it where the service runs, while nothing else does.
    Calibrate {
        /// How many milliseconds a hash may take while all cores hash.
        #[arg(long, default_value_t = 100, value_parser = clap::value_parser!(u32).range(50..=1000))]
        target_ms: u32,
        /// Measures with this much memory a hash only.
        #[arg(long, value_parser = clap::value_parser!(u32).range(i64::from(HashParameters::FLOOR.memory_kib)..=i64::from(HashParameters::CEILING.memory_kib)))]
        memory_kib: Option<u32>,
        /// Prints JSON.
        #[arg(long)]
        json: bool,
    },
}

impl HashCommand {
    /// Runs it.
    pub fn run(self) -> anyhow::Result<ExitCode> {
        let Self::Calibrate { target_ms, memory_kib, json } = self;
        let kernel = Kernel::choose(KernelChoice::Auto, &mut clock::secure_rng());
        let calibration = Calibration::measure(kernel, target_ms, memory_kib)?;
        if json {
            println!("{}", serde_json::to_string_pretty(&calibration)?);
        } else {
            println!("{calibration}");
        }
        Ok(ExitCode::SUCCESS)
    }
}
