//! auth-api as a binary: its commands and how they are run.

use std::{path::PathBuf, process::ExitCode, sync::Arc};

use anyhow::Context as _;
use clap::Subcommand;
use clock::SystemClock;
use diesel_migrations::{EmbeddedMigrations, embed_migrations};
use pg::Database;
use prometheus::Registry;
use service_runtime::{CommonConfig, Environment, Lifecycle, Problems, Service};

use crate::{
    app::{
        bootstrap_admin::{Bootstrapped, bootstrap_admin},
        seed_users::seed_users,
    },
    commands::{self, breach_filter::BreachFilterCommand, hash::HashCommand, keys::KeysCommand},
    config::{Config, Settings},
    domain::{email_address::EmailAddress, plain_password::PlainPassword},
    password::{HashPool, Kernel, PasswordVault},
    startup::Application,
};

/// The migrations of the schema `auth`.
pub const MIGRATIONS: EmbeddedMigrations = embed_migrations!("../../migrations/auth-api");

/// The service.
pub enum AuthApi {}

/// The commands beyond the usual ones.
#[derive(Subcommand)]
pub enum Command {
    /// Manages administrators and development data.
    #[command(subcommand)]
    Admin(AdminCommand),
    /// Makes and asks filters of breached passwords.
    #[command(subcommand)]
    BreachFilter(BreachFilterCommand),
    /// Measures what password hashes cost here.
    #[command(subcommand)]
    Hash(HashCommand),
    /// Manages the keys that seal what is stored.
    #[command(subcommand)]
    Keys(KeysCommand),
}

/// `auth-api admin …`
#[expect(clippy::doc_markdown, reason = "the text of --help")]
#[derive(Subcommand)]
pub enum AdminCommand {
    /// Creates a verified administrator, unless the address has an account.
    Create {
        /// The address.
        #[arg(long)]
        email: String,
        /// A file that holds the password; `-` reads it from standard input.
        #[arg(long)]
        password_file: PathBuf,
    },
    /// Adds verified users user1@example.com, user2@… with the passwords CorrectHorseBattery1, …; development only.
    Seed {
        /// How many.
        #[arg(long)]
        count: usize,
    },
}

impl Service for AuthApi {
    const NAME: &'static str = crate::state::SOURCE;
    const ABOUT: &'static str = "The public REST gateway of Feature Auth: accounts, login, administration.";
    const VERSION: &'static str = env!("CARGO_PKG_VERSION");
    const SCHEMA: &'static str = "auth";
    const DEFAULT_SEARCH_PATH: bool = true;

    type Settings = Settings;
    type Config = Config;
    type Command = Command;

    fn migrations() -> EmbeddedMigrations {
        MIGRATIONS
    }

    fn configure(settings: Settings, common: &CommonConfig, problems: &mut Problems) -> Option<Config> {
        Config::parse(settings, common, problems)
    }

    async fn serve(
        config: Config,
        common: CommonConfig,
        lifecycle: Lifecycle,
        registry: Registry,
    ) -> anyhow::Result<()> {
        Application::build(config, &common, &lifecycle, registry, Arc::new(SystemClock))
            .await?
            .run(&lifecycle)
            .await
    }

    fn run_without_configuration(command: Command) -> Result<ExitCode, Command> {
        match command {
            Command::BreachFilter(command) => Ok(commands::finish(command.run())),
            Command::Hash(command) => Ok(commands::finish(command.run())),
            command => Err(command),
        }
    }

    async fn run_command(command: Command, config: Config, common: CommonConfig) -> anyhow::Result<ExitCode> {
        let command = match command {
            Command::Admin(command) => command,
            Command::Keys(command) => return command.run(&config, &common).await,
            Command::BreachFilter(command) => return command.run(),
            Command::Hash(command) => return command.run(),
        };
        let (database, vault) = offline(&config, &common)?;
        match command {
            AdminCommand::Create { email, password_file } => {
                let email = EmailAddress::parse(&email).context("--email")?;
                let password = read_password(&password_file)?;
                let password = config.passwords.choose(&password, &email, None).context("--password-file")?;
                create_admin(&database, &vault, &email, &password).await?;
            }
            AdminCommand::Seed { count } => {
                anyhow::ensure!(
                    common.environment == Environment::Development,
                    "seeding is for development only"
                );
                let added = seed_users(&database, &vault, &SystemClock, count).await?;
                tracing::info!("Added {added} of {count} development users");
            }
        }
        Ok(ExitCode::SUCCESS)
    }

    async fn after_migrate_up(config: Config, common: CommonConfig) -> anyhow::Result<()> {
        let Some((email, password)) = &config.admin else { return Ok(()) };
        let (database, vault) = offline(&config, &common)?;
        create_admin(&database, &vault, email, password).await
    }
}

/// What commands need that do not serve.
fn offline(config: &Config, common: &CommonConfig) -> anyhow::Result<(Database, PasswordVault)> {
    let database = Database::new(&common.command_database_settings("auth-api admin"))?;
    let kernel = Kernel::choose(config.password_hash_kernel, &mut clock::secure_rng());
    let pool = HashPool::new(kernel, 1, &Registry::new())?;
    Ok((database, PasswordVault::new(pool, config.password_keys.clone(), config.password_hash)))
}

async fn create_admin(
    database: &Database,
    vault: &PasswordVault,
    email: &EmailAddress,
    password: &PlainPassword,
) -> anyhow::Result<()> {
    match bootstrap_admin(database, vault, &SystemClock, email, password).await? {
        Bootstrapped::Created => tracing::info!("Created the administrator"),
        Bootstrapped::AlreadyThere => tracing::info!("The administrator's address has an account already"),
    }
    Ok(())
}

fn read_password(file: &std::path::Path) -> anyhow::Result<zeroize::Zeroizing<String>> {
    let text = if file.as_os_str() == "-" {
        std::io::read_to_string(std::io::stdin())
    } else {
        std::fs::read_to_string(file)
    };
    let text = zeroize::Zeroizing::new(text.with_context(|| format!("cannot read {}", file.display()))?);
    Ok(zeroize::Zeroizing::new(text.trim_end_matches(['\r', '\n']).to_owned()))
}
