#![doc = include_str!("../README.md")]
#![warn(missing_docs)]

pub mod certificates;
pub mod cli;
pub mod mailbox;
pub mod turnstile;

mod checkout;
mod daemon;
mod guard;
mod interrupt;
mod keeper;
mod logs;
mod packages;
mod ports;
mod private_file;
mod progress;
mod secrets;
mod servers;
mod stack;
mod with_servers;
