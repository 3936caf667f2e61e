//! What `audit-service` can do besides serving.

mod keys;
mod partitions;
mod verify;

use std::process::ExitCode;

use service_runtime::CommonConfig;

use crate::{
    app::{AuditLog, Notary},
    archive::Archive,
    config::Config,
};

/// Commands beyond the usual ones.
#[derive(Debug, clap::Subcommand)]
pub enum Command {
    /// Proves that the log is what was recorded: every hash, every link, every signed checkpoint, and where an archive is configured, that the log has
    /// what the archive has. Exits with 2 and names the first bad row when it is not.
    Verify(verify::Verify),
    /// The months of the log.
    #[command(subcommand)]
    Partitions(partitions::PartitionsCommand),
    /// The keys that sign checkpoints and seal people's data.
    #[command(subcommand)]
    Keys(keys::KeysCommand),
}

impl Command {
    /// Runs what needs no configuration, or hands it back.
    pub fn run_without_configuration(self) -> Result<ExitCode, Self> {
        match self {
            Self::Keys(keys::KeysCommand::Generate) => {
                print!("{}", keys::generate());
                Ok(ExitCode::SUCCESS)
            }
            command => Err(command),
        }
    }

    /// Runs the command.
    pub async fn run(self, config: Config, common: CommonConfig) -> anyhow::Result<ExitCode> {
        match self {
            Self::Verify(command) => command.run(&notary(&config, &common)?).await,
            Self::Partitions(command) => command.run(&notary(&config, &common)?).await,
            Self::Keys(command) => command.run(&config, &log(&config, &common)?).await,
        }
    }
}

fn notary(config: &Config, common: &CommonConfig) -> anyhow::Result<Notary> {
    let archive = config.archive.as_ref().map(Archive::open).transpose()?;
    Ok(Notary::new(database(common)?, config.checkpoint_keys.clone(), archive))
}

fn log(config: &Config, common: &CommonConfig) -> anyhow::Result<AuditLog> {
    Ok(AuditLog::new(database(common)?, config.cursor_keys.clone(), config.personal_keys.clone()))
}

fn database(common: &CommonConfig) -> anyhow::Result<pg::Database> {
    pg::Database::new(&common.database_settings("audit-service"))
}
