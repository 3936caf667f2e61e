#![doc = include_str!("../README.md")]
#![warn(missing_docs)]

pub mod load;
pub mod memory;
pub mod raw;
pub mod timing;
