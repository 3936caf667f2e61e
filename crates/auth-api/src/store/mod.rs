//! The tables of the schema `auth`. Functions take the connection first and never open a transaction.

pub mod attempts;
pub mod data_exports;
pub mod deferred_requests;
pub mod email_changes;
pub mod idempotency_keys;
pub mod known_devices;
pub mod leftovers;
pub mod login_challenges;
pub mod mail_allowances;
pub mod maintenance_turn;
pub mod one_time_tokens;
pub mod pending_revocations;
pub mod recovery_codes;
mod schema;
pub mod sealed_columns;
pub mod stolen_sessions;
pub mod totp_enrolments;
pub mod totp_factors;
pub mod users;
