//! The edge out to the mail server: words, a message, a conversation.

pub mod brand;
pub mod composer;
mod connections;
mod conversation;
pub mod dkim;
pub mod domain_gates;
pub mod gallery;
mod line_by_line;
mod line_length;
pub mod overrides;
pub mod patience;
pub mod proof;
pub mod providers;
pub mod renderer;
pub mod samples;
pub mod sendgrid;
pub mod smtp;
pub mod smtp_server;
pub mod templates;
