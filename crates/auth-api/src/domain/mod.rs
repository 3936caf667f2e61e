//! The rules of accounts: pure, without I/O, clock or randomness of their own.

pub mod account;
pub mod attempts;
pub mod bearer_secret;
mod common_passwords;
pub mod display_name;
pub mod email_address;
pub mod guessable_password;
pub mod mail_allowance;
pub mod permission;
pub mod plain_password;
pub mod qr_code;
pub mod recovery_code;
pub mod route_limits;
pub mod totp;
pub mod user;
pub mod web_origin;
