//! Password hashing: which kernel computes Argon2id, how many at once, and how a hash is stored.

mod kernel;
mod phc;
mod pool;
mod vault;

pub use kernel::{Kernel, KernelChoice};
pub use phc::HashParameters;
pub use pool::{HashPool, Overloaded};
pub use vault::{FreshHash, PasswordVault, VaultError};
