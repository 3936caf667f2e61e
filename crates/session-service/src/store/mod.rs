//! Tables of the schema `session`. Functions take the connection first and never open a transaction.

pub mod refresh_keys;
pub mod revocations;
pub mod rotation;
mod row_version;
mod schema;
pub mod sessions;
pub mod signing_keys;
pub mod subjects;
