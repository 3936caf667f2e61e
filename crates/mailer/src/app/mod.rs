//! The use cases.

pub mod deliver;
pub mod get_message;
pub mod list_messages;
