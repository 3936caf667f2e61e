#![doc = include_str!("../README.md")]
#![warn(missing_docs)]

mod command_line;
mod config;
mod database_checks;
mod doctor;
mod encryption;
pub mod grpc;
mod lifecycle;
mod management;
mod migrate;
mod print_config;
mod problems;
mod readiness;
mod run;
mod serve;
mod service;
mod settings;
mod transport;

pub use config::{CommonConfig, Environment, ShutdownSettings};
pub use database_checks::require_database;
pub use diesel_migrations::EmbeddedMigrations;
pub use encryption::Encryption;
pub use lifecycle::Lifecycle;
pub use problems::Problems;
pub use prometheus::Registry;
pub use readiness::{CheckReport, Readiness, ReadinessReport, ReadinessStatus};
pub use run::main;
pub use service::{Finding, Service};
pub use service_channel::{ServiceAddress, ServiceAddressError, TlsIdentity};
pub use tokio_util::sync::CancellationToken;
pub use transport::Transport;
