//! What operators do at the command line. All of it works on the database, or on the broker, whether the service runs or not.

mod archive;
mod dead_letters;
mod export;
mod keys;
mod partitions;
mod verify;

use std::{process::ExitCode, sync::Arc};

use clap::Subcommand;
use clock::SystemClock;
use event_bus::EventBus;
use service_runtime::{CommonConfig, Registry};

use self::{
    archive::ArchiveCommand, dead_letters::DeadLettersCommand, export::Export, keys::KeysCommand,
    partitions::PartitionsCommand, verify::Verify,
};
use crate::{
    app::{AuditLog, Notary, Retention},
    config::Config,
};

/// Commands beyond the usual ones.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Writes events to a file, or to standard output.
    Export(Box<Export>),
    /// Copies of the log outside of the database, as AUDIT_ARCHIVE_URL says.
    #[command(subcommand)]
    #[expect(clippy::doc_markdown, reason = "the text of --help")]
    Archive(ArchiveCommand),
    /// Proves that the log is what was recorded: every hash, every link, every signed checkpoint, and where an archive is configured, that the log has
    /// what the archive has. Exits with 3 and names the first bad row when it is not.
    Verify(Verify),
    /// What the log could not take, on the broker.
    #[command(subcommand)]
    DeadLetters(DeadLettersCommand),
    /// The months of the log.
    #[command(subcommand)]
    Partitions(PartitionsCommand),
    /// The keys that sign checkpoints and seal people's data.
    #[command(subcommand)]
    Keys(KeysCommand),
}

impl Command {
    /// Runs what needs no configuration, or hands it back.
    pub fn run_without_configuration(self) -> Result<ExitCode, Self> {
        match self {
            Self::Keys(KeysCommand::Generate) => {
                print!("{}", keys::generate());
                Ok(ExitCode::SUCCESS)
            }
            command => Err(command),
        }
    }

    /// Runs it.
    pub async fn run(self, config: Config, common: CommonConfig) -> anyhow::Result<ExitCode> {
        let database = pg::Database::new(&common.command_database_settings("audit-service"))?;
        match self {
            Self::Export(export) => {
                export.run(&AuditLog::new(database, config.cursor_keys, config.personal_keys)).await
            }
            Self::Archive(command) => command.run(database, config).await,
            Self::Verify(command) => command.run(&notary(database, config)).await,
            Self::DeadLetters(command) => {
                command.run(&EventBus::new(&common.amqp_url, "audit-service", &Registry::new())?).await
            }
            Self::Partitions(command) => command.run(&notary(database, config)).await,
            Self::Keys(command) => {
                let log = AuditLog::new(database, config.cursor_keys.clone(), config.personal_keys.clone());
                command.run(&config, &log).await
            }
        }
    }
}

fn notary(database: pg::Database, config: Config) -> Notary {
    let retention = Retention { days: config.retention, clock: Arc::new(SystemClock) };
    Notary::new(database, config.checkpoint_keys, config.archive, retention)
}
