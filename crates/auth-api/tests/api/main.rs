//! auth-api in process, over HTTP, on a real PostgreSQL; session-service is a stand-in that keeps its contract in memory.
#![expect(clippy::unwrap_used, clippy::indexing_slicing, reason = "a test may panic")]

mod degradation;
mod edge;
mod fake_sessions;
mod harness;
mod login;
mod migrations;
mod openapi_routes;
mod operations;
mod register;
mod sessions;
mod verify_email;
