//! The edge out to the mail server: words, a message, a conversation.

pub mod composer;
mod connections;
mod conversation;
pub mod renderer;
pub mod samples;
pub mod smtp;
pub mod smtp_server;
mod templates;
