//! What the runtime needs to know of the service.

use std::{process::ExitCode, sync::Arc};

use clap::Subcommand;
use clock::{Clock, SystemClock};
use pg::Database;
use prometheus::Registry;
use service_runtime::{CommonConfig, EmbeddedMigrations, Finding, Lifecycle, Problems, Service};

use crate::{
    Application, Config, SERVICE_NAME, Settings,
    app::{list_keys, signing_keys},
    migrations,
};

/// The session service, as a process.
pub struct SessionService;

/// Commands beyond the usual ones.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// The keys that sign access tokens.
    #[command(subcommand)]
    Keys(KeysCommand),
}

/// What can be done with keys.
#[derive(Debug, Subcommand)]
pub enum KeysCommand {
    /// Lists every signing key.
    List,
}

impl Service for SessionService {
    const NAME: &'static str = SERVICE_NAME;
    const ABOUT: &'static str = "Issues, refreshes, validates and revokes sessions.";
    const VERSION: &'static str = env!("CARGO_PKG_VERSION");
    const SCHEMA: &'static str = "session";

    type Settings = Settings;
    type Config = Config;
    type Command = Command;

    fn migrations() -> EmbeddedMigrations {
        migrations()
    }

    fn configure(settings: Settings, _common: &CommonConfig, problems: &mut Problems) -> Option<Config> {
        Config::parse(settings, problems)
    }

    async fn serve(
        config: Config,
        common: CommonConfig,
        lifecycle: Lifecycle,
        registry: Registry,
    ) -> anyhow::Result<()> {
        let application = Application::build(config, &common, Arc::new(SystemClock), &registry).await?;
        application.run(lifecycle).await
    }

    async fn run_command(command: Command, config: Config, common: CommonConfig) -> anyhow::Result<ExitCode> {
        let Command::Keys(KeysCommand::List) = command;
        let database = Database::new(&common.database_settings(SERVICE_NAME))?;
        let table = list_keys::list_keys(&database, &config.key_ring, SystemClock.now()).await?;
        print!("{table}");
        Ok(ExitCode::SUCCESS)
    }

    async fn doctor(config: Config, common: CommonConfig) -> Vec<Finding> {
        let outcome = check_keys(&config, &common).await.map_err(|error| format!("{error:#}"));
        vec![Finding { name: "signing keys".to_owned(), outcome }]
    }
}

/// Only looks: the first key is made by a process that serves.
async fn check_keys(config: &Config, common: &CommonConfig) -> anyhow::Result<String> {
    let database = Database::new(&common.database_settings(SERVICE_NAME))?;
    let keys = signing_keys::read(&database, &config.key_ring).await?;
    let signer = keys.signer(SystemClock.now());
    Ok(signer.map_or_else(
        || "none that opens; one is made if there is none at all".to_owned(),
        |key| format!("{} signs", key.id),
    ))
}
