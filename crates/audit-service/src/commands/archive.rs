use std::{process::ExitCode, sync::Arc};

use anyhow::Context;
use clap::Subcommand;
use clock::SystemClock;

use crate::{
    app::AuditLog,
    archive::{Archived, Upkeep},
    config::Config,
};

/// What can be done with the archive.
#[derive(Debug, Subcommand)]
pub enum ArchiveCommand {
    /// Archives every event that is not archived yet, without waiting until it is due.
    Run,
    /// Up to where the log is archived.
    Status,
}

impl ArchiveCommand {
    pub async fn run(self, database: pg::Database, config: Config) -> anyhow::Result<ExitCode> {
        let archive = config.archive.context("AUDIT_ARCHIVE_URL is not set")?;
        let log = AuditLog::new(database.clone(), config.cursor_keys, config.personal_keys);
        let upkeep = Upkeep::new(database, archive, Arc::new(SystemClock), config.archive_period);
        match self {
            Self::Run => match upkeep.archive_all().await? {
                Archived::Elsewhere => {
                    eprintln!("A replica of the service is archiving.");
                    return Ok(ExitCode::FAILURE);
                }
                Archived::Here { segments, up_to_seq } => {
                    for segment in &segments {
                        println!("{}: {} events", segment.object, segment.events);
                    }
                    println!("archived up to seq {up_to_seq}");
                }
            },
            Self::Status => {
                let (archived, last) = (upkeep.archived_up_to().await?, log.last_seq().await?);
                println!("archived up to seq {archived}, the log ends with {last}");
            }
        }
        Ok(ExitCode::SUCCESS)
    }
}
