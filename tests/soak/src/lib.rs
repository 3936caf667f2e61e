#![doc = include_str!("../README.md")]
#![warn(missing_docs)]

pub mod drill;
pub mod life;
pub mod load;
pub mod memory;
pub mod orders;
pub mod raw;
pub mod timing;
