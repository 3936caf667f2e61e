//! The use cases.

pub mod cancel;
pub mod deliver;
mod failure;
pub mod get_message;
pub mod list_dead_letters;
pub mod list_messages;
pub mod look_after;
pub mod redrive;
pub mod render_preview;
mod requeue;
pub mod retry;
pub mod send_test;
mod settle;
