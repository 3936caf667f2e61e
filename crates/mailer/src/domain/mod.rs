//! The rules of delivering mail: pure, without I/O and without a clock.

pub mod claim;
pub mod greeting_name;
pub mod mail_command;
pub mod message;
pub mod retry_ladder;
pub mod settlement;
