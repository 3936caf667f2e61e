//! The tables of schema `audit`.

pub mod chain;
pub mod checkpoints;
pub mod events;
pub mod keys;
pub mod partitions;
pub mod producers;
pub mod rows;
pub mod search;
mod statement;
pub mod verification;
