//! Version 1 of the interface.

pub mod config;
pub mod login;
pub mod logout;
pub mod me;
pub mod refresh;
pub mod register;
pub mod session_tokens;
pub mod verify_email;
