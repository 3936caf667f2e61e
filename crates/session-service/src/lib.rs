#![doc = include_str!("../README.md")]
#![warn(missing_docs)]

mod app;
mod config;
mod domain;
mod rpc;
mod service;
mod startup;
mod state;
mod store;

pub use config::{Config, Settings};
pub use service::{Command, KeysCommand, SessionService};
pub use startup::Application;

use diesel_migrations::{EmbeddedMigrations, embed_migrations};

/// The name of the service, in logs, events and metrics.
const SERVICE_NAME: &str = "session-service";

/// The migrations of the schema `session`.
#[must_use]
pub fn migrations() -> EmbeddedMigrations {
    const MIGRATIONS: EmbeddedMigrations = embed_migrations!("../../migrations/session-service");
    MIGRATIONS
}
