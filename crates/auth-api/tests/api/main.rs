//! auth-api in process, over HTTP, on a real PostgreSQL; session-service is a stand-in that keeps its contract in memory.
#![expect(clippy::unwrap_used, clippy::indexing_slicing, reason = "a test may panic")]

mod attempts;
mod authenticator;
mod captcha;
mod change_email;
mod change_password;
mod cookies;
mod cors;
mod deadline;
mod degradation;
mod documented;
mod edge;
mod fake_sessions;
mod harness;
mod idempotency;
mod input;
mod limits;
mod login;
mod mail_links;
mod mfa;
mod migrations;
mod one_time;
mod openapi_routes;
mod operations;
mod own_account;
mod passwords;
mod raw_http;
mod raw_socket;
mod reauthenticate;
mod register;
mod reset;
mod second_factor;
mod secure_account;
mod security_headers;
mod sessions;
mod verify_email;
