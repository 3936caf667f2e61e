//! The tables of the schema `auth`. Functions take the connection first and never open a transaction.

pub mod one_time_tokens;
mod schema;
pub mod users;
