#![doc = include_str!("../README.md")]
#![warn(missing_docs)]

mod append;
mod metrics;
mod relay;
mod rests;
mod row;
mod store;
mod wake;

pub use append::{append_fact, append_mail};
pub use relay::{Relay, RelaySettings};
pub use row::Row;
pub use wake::Wake;
