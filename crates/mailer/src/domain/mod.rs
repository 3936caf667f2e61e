//! The rules of delivering mail: pure, without I/O and without a clock.

pub mod breaker;
pub mod chosen_name;
pub mod claim;
pub mod color;
pub mod device_label;
pub mod mail_command;
pub mod masked_address;
pub mod message;
pub mod provider;
pub mod retry_ladder;
pub mod settlement;
pub mod slow_domain;
pub mod smtp_policy;
pub mod time_in_words;
pub mod workers;
