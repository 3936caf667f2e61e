use std::process::ExitCode;

use service_runtime::{CommonConfig, EmbeddedMigrations, Lifecycle, NoCommand, Problems, Registry, Service};

use crate::{
    config::{Config, Settings},
    startup::{self, Application},
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
    type Command = NoCommand;

    fn configure(settings: Settings, _common: &CommonConfig, problems: &mut Problems) -> Option<Config> {
        Config::parse(settings, problems)
    }

    async fn serve(
        config: Config,
        common: CommonConfig,
        lifecycle: Lifecycle,
        registry: Registry,
    ) -> anyhow::Result<()> {
        Application::build(config, &common, &registry).await?.run(lifecycle).await
    }

    async fn run_command(
        command: NoCommand,
        _config: Config,
        _common: CommonConfig,
    ) -> anyhow::Result<ExitCode> {
        match command {}
    }
}
