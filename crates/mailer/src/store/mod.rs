//! The tables of the schema `mailer`.

pub mod messages;
mod schema;
pub mod transitions;
