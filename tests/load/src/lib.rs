#![doc = include_str!("../README.md")]
#![warn(missing_docs)]

pub mod bench;
pub mod ceiling;
pub mod cli;
pub mod client;

mod engine;
mod measured_load;
mod outcome;
mod report;
mod schedule;

pub use engine::{Client, Timing, closed_loop, open_loop};
pub use measured_load::MeasuredLoad;
pub use outcome::Outcome;
pub use report::{Latencies, Report};
pub use schedule::Schedule;
