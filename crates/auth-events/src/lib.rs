#![doc = include_str!("../README.md")]
#![warn(missing_docs)]

pub mod commands;
mod envelope;
mod fact;
pub mod facts;
pub mod routing;
pub mod schema;

pub use envelope::{Envelope, RawEnvelope};
pub use fact::{Actor, ActorKind, Client, Fact, FactDetail, Outcome, Severity, Target};
