//! The use cases: each opens its one transaction, or none.

pub mod bootstrap_admin;
pub mod dependency;
pub mod forget_unverified;
pub mod login;
pub mod logout;
pub mod me;
pub mod outgoing_mail;
pub mod password_rules;
pub mod refresh;
pub mod register;
pub mod seed_users;
pub mod verify_email;
