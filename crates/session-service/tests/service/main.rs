//! The service as its callers see it: in process, on real servers, over gRPC.
#![expect(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing, reason = "a test may panic")]

mod access;
mod away;
mod elevate;
mod ext_authz;
mod harness;
mod hostile;
mod hostile_tokens;
mod key_rotation;
mod keys;
mod keys_command;
mod limits;
mod migrations;
mod peers;
mod refresh;
mod refresh_races;
mod relay;
mod revoke;
mod revoke_all;
mod schedules;
mod validate;
mod watch;
