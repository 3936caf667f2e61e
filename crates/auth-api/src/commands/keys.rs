//! `auth-api keys …`

use std::process::ExitCode;

use clap::Subcommand;
use pg::Database;
use service_runtime::CommonConfig;

use crate::{
    app::reseal::{Resealed, reseal, sealed_columns},
    config::Config,
};

/// `auth-api keys …`
#[expect(clippy::doc_markdown, reason = "the text of --help")]
#[derive(Subcommand)]
pub enum KeysCommand {
    /// Encrypts everything that is stored under another key than the first of PASSWORD_KEYS or DATA_KEYS again. Give every replica the new
    /// key at the end of its list first, then in front; when all run with it, run this and take the old key away a day later. Exits with 1 if something
    /// opens with no key.
    Reseal {
        /// How many rows at a time.
        #[arg(long, default_value_t = 500, value_parser = clap::value_parser!(i64).range(1..=10_000))]
        batch: i64,
    },
}

impl KeysCommand {
    /// Runs it.
    pub async fn run(self, config: &Config, common: &CommonConfig) -> anyhow::Result<ExitCode> {
        let Self::Reseal { batch } = self;
        let database = Database::new(&common.command_database_settings("auth-api keys"))?;
        let mut is_complete = true;
        for sealed in sealed_columns(&config.password_keys, &config.data_keys) {
            let Resealed { resealed, current, changed, unreadable } =
                reseal(&database, &sealed, batch).await?;
            println!(
                "{}.{}: {resealed} sealed anew, {current} current, {changed} changed meanwhile, {unreadable} unreadable",
                sealed.column.table, sealed.column.value
            );
            is_complete &= unreadable == 0;
        }
        Ok(if is_complete { ExitCode::SUCCESS } else { ExitCode::FAILURE })
    }
}
