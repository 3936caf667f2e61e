//! Use cases: each opens the one transaction it needs, which also holds the facts it makes true.

pub mod create_session;
mod database_error;
pub mod denied_calls;
pub mod elevate_session;
mod facts;
mod issue;
pub mod last_seen;
pub mod list_keys;
pub mod list_sessions;
pub mod refresh;
pub mod revoke_session;
pub mod revoke_user_sessions;
pub mod signing_keys;
pub mod validate;

pub use issue::{FurtherAccess, IssueError, Issued, Tokens};
