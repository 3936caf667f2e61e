//! The rules of accounts: pure, without I/O, clock or randomness of their own.

pub mod bearer_secret;
pub mod display_name;
pub mod email_address;
pub mod permission;
pub mod plain_password;
pub mod user;
