#![doc = include_str!("../README.md")]
#![warn(missing_docs)]

mod database;
mod error;
pub mod migrate;
pub mod bootstrap;

pub use database::{Connection, Database, DatabaseSettings};
pub use diesel_async::AsyncPgConnection;
pub use error::{Error, Result};
