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
mod proxy;
mod servers;
pub mod smtp;

pub use broker::TestBroker;
pub use database::TestDatabase;
pub use eventually::eventually;
pub use proxy::Proxy;
pub use servers::{install_crypto_provider, redis_prefix, redis_url};
