//! The tables of schema `audit`.

pub mod events;
