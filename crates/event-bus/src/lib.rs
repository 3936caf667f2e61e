#![doc = include_str!("../README.md")]
#![warn(missing_docs)]

mod connection;
mod consumer;
mod publisher;
pub mod topology;

pub use connection::EventBus;
pub use consumer::{BatchHandler, ConsumerSettings, Delivery, Handler, Verdict};
pub use publisher::{OutgoingMessage, PublishError, Publisher};
