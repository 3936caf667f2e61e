#![doc = include_str!("../README.md")]
#![warn(missing_docs)]

mod backoff;
mod bus;
mod connection;
mod consumer;
mod dead_letters;
mod link;
mod metrics;
mod permissions;
mod posting;
mod publisher;
mod sequence;
mod serving;
mod session;
mod subscription;
pub mod topology;

pub use bus::EventBus;
pub use consumer::{BatchHandler, ConsumerSettings, Delivery, Handler, Verdict};
pub use dead_letters::{DeadLetter, DeadLetters};
pub use permissions::{PERMISSIONS, Permissions};
pub use publisher::{OutgoingMessage, PublishError, Publisher};
pub use sequence::Sequence;
