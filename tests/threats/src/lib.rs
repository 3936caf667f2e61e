#![doc = include_str!("../README.md")]
#![warn(missing_docs)]

mod csv;
mod mapping;
mod page;
mod sources;
mod threat;

pub use mapping::{Mapping, Tally};
pub use page::page;
pub use sources::{Test, tests_below};
pub use threat::{Exception, Threat, Tier, exceptions, threats};
