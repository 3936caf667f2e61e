#![doc = include_str!("../README.md")]
#![warn(missing_docs)]

mod breaker;
mod client_address;
mod decision;
mod limit;
mod limiter;
mod metrics;
mod own_windows;
mod shared_windows;
mod window;

pub use client_address::Scope;
pub use decision::{Decision, Standing};
pub use limit::{Charge, Limit};
pub use limiter::{RateLimitSettings, RateLimiter, SetupError};
