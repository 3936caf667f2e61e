#![doc = include_str!("../README.md")]
#![expect(clippy::unwrap_used, clippy::expect_used, clippy::missing_panics_doc, reason = "a test may panic")]

pub mod audit;
pub mod balancer;
pub mod crowd;
pub mod far_broker;
pub mod grpc;
pub mod journey;
pub mod ledger;
pub mod otlp_sink;
pub mod rolling;
pub mod sibling;
pub mod stack;
pub mod traffic;

pub use stack::Stack;
