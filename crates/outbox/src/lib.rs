#![doc = include_str!("../README.md")]
#![warn(missing_docs)]

mod append;
mod relay;

pub use append::{append_fact, append_mail};
pub use relay::{Relay, RelaySettings, Wake};
