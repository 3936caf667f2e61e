//! The tables of the schema `mailer`.

pub mod attempts;
pub mod messages;
pub mod moves;
mod schema;
pub mod transitions;
pub mod upkeep;
