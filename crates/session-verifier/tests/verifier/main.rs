//! A verifier and a session-service that does what a test tells it.
#![expect(clippy::unwrap_used, clippy::indexing_slicing, reason = "helpers of tests panic like tests do")]

mod absence;
#[cfg(feature = "actix")]
mod actix;
mod configuration;
mod fake;
#[cfg(feature = "tower")]
mod tower;
mod verifying;
