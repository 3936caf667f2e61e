//! Passwords: which may be chosen, which kernel computes Argon2id, how many at once, and how a hash is stored.

mod breach_filter;
mod calibration;
mod hash_thread;
mod kernel;
mod phc;
mod policy;
mod pool;
mod vault;

pub use breach_filter::{BreachFilter, BuildError, LoadError};
pub use calibration::{Calibration, Cost, Measurement};
pub use kernel::{Kernel, KernelChoice};
pub use phc::HashParameters;
pub use policy::{BreachMode, PasswordPolicy};
pub use pool::{Admission, HashPool, Overloaded};
pub use vault::{Comparison, FreshHash, PasswordVault, VaultError};
