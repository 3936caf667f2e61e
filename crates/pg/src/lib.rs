#![doc = include_str!("../README.md")]
#![warn(missing_docs)]

mod answering;
pub mod bootstrap;
mod connector;
mod database;
mod error;
mod liveness;
pub mod migrate;
mod tls;

pub use database::{Commit, Connection, Database, DatabaseSettings};
pub use diesel_async::AsyncPgConnection;
pub use error::{Error, Result};
pub use tls::may_travel_unencrypted;
