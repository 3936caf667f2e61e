#![doc = include_str!("../README.md")]
#![warn(missing_docs)]
#![expect(
    clippy::expect_used,
    clippy::missing_panics_doc,
    reason = "everything here panics when the test's surroundings are not as they should be"
)]

mod broker;
mod database;
mod eventually;
mod servers;
pub mod smtp;

pub use broker::TestBroker;
pub use chaos::Proxy;
pub use database::TestDatabase;
pub use eventually::eventually;
pub use servers::{install_crypto_provider, redis_prefix, redis_url};
