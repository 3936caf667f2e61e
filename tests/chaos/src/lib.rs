#![doc = include_str!("../README.md")]
#![warn(missing_docs)]
#![expect(
    clippy::expect_used,
    clippy::missing_panics_doc,
    reason = "a proxy that cannot do what it was told must end the test"
)]

mod connection;
pub mod control;
mod faults;
mod proxy;
mod pump;
mod trigger;

pub use faults::{Direction, Faults};
pub use proxy::{Counts, Proxy};
pub use trigger::{Cut, Trigger, patterns};
