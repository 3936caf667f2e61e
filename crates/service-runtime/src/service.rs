use std::{future::Future, process::ExitCode};

use clap::{Args, Subcommand};
use diesel_migrations::EmbeddedMigrations;
use prometheus::Registry;

use crate::{CommonConfig, Lifecycle, Problems};

/// What a service tells the runtime about itself; [`main`](crate::main) does the rest.
pub trait Service: 'static {
    /// The name of the binary, in logs, spans and metrics.
    const NAME: &'static str;
    /// One sentence for `--help`.
    const ABOUT: &'static str;
    /// `env!("CARGO_PKG_VERSION")`.
    const VERSION: &'static str;
    /// The service's schema in the database.
    const SCHEMA: &'static str;
    /// Whether people who connect to the database find this schema's tables unqualified.
    const DEFAULT_SEARCH_PATH: bool = false;

    /// The embedded migrations.
    fn migrations() -> EmbeddedMigrations;

    /// The service's own flags and variables. Every field is text or a path, so that clap never refuses one: `configure` does, with all the others.
    /// A secret is a pair of fields `NAME` and `NAME_FILE`; only then `config print` knows to hide it.
    type Settings: Args + Clone + Send;
    /// The parsed settings.
    type Config: Clone + Send + Sync + 'static;
    /// Commands beyond the usual ones.
    type Command: Subcommand + Send;

    /// Parses the settings. Adds every mistake to `problems` and returns `None` if there was one.
    fn configure(
        settings: Self::Settings,
        common: &CommonConfig,
        problems: &mut Problems,
    ) -> Option<Self::Config>;

    /// Serves until `lifecycle` stops. Never fails because a dependency is away.
    fn serve(
        config: Self::Config,
        common: CommonConfig,
        lifecycle: Lifecycle,
        registry: Registry,
    ) -> impl Future<Output = anyhow::Result<()>> + Send;

    /// Runs one of the service's own commands that needs no configuration, or hands it back for [`Service::run_command`]. Asked
    /// before the configuration is read: a command that makes a key must work before there is one.
    fn run_without_configuration(command: Self::Command) -> Result<ExitCode, Self::Command> {
        Err(command)
    }

    /// Runs one of the service's own commands.
    fn run_command(
        command: Self::Command,
        config: Self::Config,
        common: CommonConfig,
    ) -> impl Future<Output = anyhow::Result<ExitCode>> + Send;

    /// Called after `migrate up` succeeded.
    fn after_migrate_up(
        _config: Self::Config,
        _common: CommonConfig,
    ) -> impl Future<Output = anyhow::Result<()>> + Send {
        async { Ok(()) }
    }

    /// Checks for `doctor` beyond the common ones.
    fn doctor(_config: Self::Config, _common: CommonConfig) -> impl Future<Output = Vec<Finding>> + Send {
        async { Vec::new() }
    }
}

/// One line of `doctor`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Finding {
    /// What was looked at.
    pub name: String,
    /// What was found: good news, or what is wrong.
    pub outcome: Result<String, String>,
}
