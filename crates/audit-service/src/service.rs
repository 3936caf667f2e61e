use std::process::ExitCode;

use service_runtime::{CommonConfig, EmbeddedMigrations, Lifecycle, Problems, Registry, Service};

use crate::{
    commands::Command,
    config::{Config, Settings},
    startup::{self, Application},
    store,
};

/// The audit service as the runtime knows it.
pub struct AuditService;

impl Service for AuditService {
    const NAME: &'static str = "audit-service";
    const ABOUT: &'static str = "Keeps every security-relevant event, append-only, and finds it again.";
    const VERSION: &'static str = env!("CARGO_PKG_VERSION");
    const SCHEMA: &'static str = "audit";

    fn migrations() -> EmbeddedMigrations {
        startup::migrations()
    }

    type Settings = Settings;
    type Config = Config;
    type Command = Command;

    fn configure(settings: Settings, common: &CommonConfig, problems: &mut Problems) -> Option<Config> {
        Config::parse(settings, common.encryption, problems)
    }

    async fn serve(
        config: Config,
        common: CommonConfig,
        lifecycle: Lifecycle,
        registry: Registry,
    ) -> anyhow::Result<()> {
        Application::build(config, &common, &registry).await?.run(lifecycle).await
    }

    fn run_without_configuration(command: Command) -> Result<ExitCode, Command> {
        command.run_without_configuration()
    }

    async fn run_command(command: Command, config: Config, common: CommonConfig) -> anyhow::Result<ExitCode> {
        command.run(config, common).await
    }

    /// The serving role cannot change how long events are kept; the one that migrates can.
    async fn after_migrate_up(config: Config, common: CommonConfig) -> anyhow::Result<()> {
        let settings = pg::DatabaseSettings {
            url: common.migrations_database_url.clone(),
            ..common.command_database_settings(Self::NAME)
        };
        let database = pg::Database::new(&settings)?;
        let mut conn = database.connection().await?;
        for (class, days) in config.retention {
            store::partitions::keep(&mut conn, class.name(), days).await?;
        }
        Ok(())
    }
}
