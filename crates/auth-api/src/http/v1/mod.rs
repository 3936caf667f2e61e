//! Version 1 of the interface.

pub mod activity;
pub mod change_email;
pub mod change_password;
pub mod config;
pub mod delete_account;
pub mod export;
pub mod forgot_password;
pub mod login;
pub mod logout;
pub mod me;
pub mod proof;
pub mod reauthenticate;
pub mod refresh;
pub mod register;
pub mod resend_verification;
pub mod reset_password;
pub mod second_factor;
pub mod secure_account;
pub mod session_tokens;
pub mod sessions;
pub mod two_factor_login;
pub mod verify_email;
