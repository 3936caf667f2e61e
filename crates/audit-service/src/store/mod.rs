//! The tables of schema `audit`.

pub mod chain;
pub mod events;
pub mod keys;
pub mod search;
mod statement;
