//! Use cases: each opens the one transaction it needs, which also holds the facts it makes true.

pub mod create_session;
pub mod database_clock;
mod database_error;
pub mod denied_calls;
pub mod elevate_session;
pub mod facts;
mod issue;
pub mod key_metrics;
pub mod last_seen;
pub mod list_keys;
pub mod list_sessions;
pub mod maintenance;
pub mod peer_signal;
pub mod refresh;
pub mod reseal_keys;
pub mod revocation_feed;
pub mod revoke_session;
pub mod revoke_user_sessions;
pub mod rotate_keys;
mod sealed_keys;
pub mod signing_keys;
pub mod touch;
pub mod update_user_claims;
pub mod validate;

pub use issue::{FurtherAccess, IssueError, Issued, Tokens};
