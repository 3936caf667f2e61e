//! Tables of the schema `session`. Functions take the connection first and never open a transaction.

mod schema;
pub mod sessions;
pub mod signing_keys;
pub mod subjects;
