#![doc = include_str!("../README.md")]

pub mod app;
pub mod commands;
pub mod config;
pub mod consumer;
pub mod delivery_settings;
pub mod domain;
pub mod keys;
pub mod mail;
pub mod metrics;
pub mod presentation;
pub mod rpc;
pub mod startup;
pub mod store;
pub mod templates_command;

use std::{process::ExitCode, sync::Arc};

use diesel_migrations::{EmbeddedMigrations, embed_migrations};
use prometheus::Registry;
use service_runtime::{CommonConfig, Lifecycle, Problems, Service};

const NAME: &str = "mailer";

/// The service.
#[derive(Debug)]
pub struct Mailer;

/// The migrations of the schema `mailer`.
#[must_use]
pub fn migrations() -> EmbeddedMigrations {
    const MIGRATIONS: EmbeddedMigrations = embed_migrations!("../../migrations/mailer");
    MIGRATIONS
}

impl Service for Mailer {
    const NAME: &'static str = NAME;
    const ABOUT: &'static str = "Sends the platform's mails, each once, and knows what became of them.";
    const VERSION: &'static str = env!("CARGO_PKG_VERSION");
    const SCHEMA: &'static str = "mailer";

    type Settings = config::Settings;
    type Config = config::Config;
    type Command = commands::Command;

    fn migrations() -> EmbeddedMigrations {
        migrations()
    }

    fn configure(
        settings: Self::Settings,
        common: &CommonConfig,
        problems: &mut Problems,
    ) -> Option<Self::Config> {
        settings.configure(common, problems)
    }

    async fn serve(
        config: Self::Config,
        common: CommonConfig,
        lifecycle: Lifecycle,
        registry: Registry,
    ) -> anyhow::Result<()> {
        let clock = Arc::new(clock::SystemClock);
        startup::Application::build(config, &common, clock, &registry).await?.run(lifecycle).await
    }

    fn run_without_configuration(command: Self::Command) -> Result<ExitCode, Self::Command> {
        match command {
            commands::Command::Keys(keys::KeysCommand::Generate) => {
                print!("{}", keys::generate());
                Ok(ExitCode::SUCCESS)
            }
            commands::Command::Templates(command) => Ok(templates_command::run(command)),
            command => Err(command),
        }
    }

    async fn run_command(
        command: Self::Command,
        config: Self::Config,
        common: CommonConfig,
    ) -> anyhow::Result<ExitCode> {
        command.run(&config, &common).await
    }
}
