//! What the runtime needs to know of the service.

use std::{process::ExitCode, sync::Arc};

use anyhow::ensure;
use clap::Subcommand;
use clock::{Clock, SystemClock};
use pg::Database;
use prometheus::Registry;
use sealing::KeyRing;
use service_runtime::{CommonConfig, EmbeddedMigrations, Finding, Lifecycle, Problems, Service};

use crate::{
    Application, Config, SERVICE_NAME, Settings,
    app::{
        database_clock::DatabaseClock,
        facts, list_keys,
        peer_signal::PeerSignal,
        reseal_keys::{self, Resealed},
        rotate_keys::{self, RotateKeys},
        signing_keys::{self, LoadKeysError},
    },
    migrations, rpc,
    startup::peer_scope,
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

/// What can be done with keys. All of it works on the database, whether the service runs or not.
#[expect(clippy::doc_markdown, reason = "the text of --help")]
#[derive(Debug, Subcommand)]
pub enum KeysCommand {
    /// Lists every signing key: where it is on its way, from when it signs, when it retires, and which key of SESSION_KEYS seals it.
    List,
    /// Makes the next signing key. It is published now and signs in a quarter of an hour; the one before it retires after its last token has expired.
    /// Fails while another one is published and has not begun to sign.
    Rotate {
        /// For an emergency: the new key signs at once and the others are good for nothing any more. Every access token in use dies, and clients refresh.
        #[arg(long)]
        drop_current: bool,
        /// Why, for the audit log: a code in snake_case.
        #[arg(long, default_value = "operator", value_parser = parse_reason)]
        reason: String,
    },
    /// Encrypts the signing keys and the sessions' refresh keys that are stored under another key than the first of SESSION_KEYS again. Give every
    /// replica the new key at the end of SESSION_KEYS first, then in front; when all run with it, run this and take the old key away. Exits with 1 if
    /// something opens with no key.
    Reseal {
        /// How many sessions at a time.
        #[arg(long, default_value_t = 500, value_parser = clap::value_parser!(i64).range(1..=10_000))]
        batch: i64,
    },
}

fn parse_reason(reason: &str) -> Result<String, String> {
    rpc::parse_reason(reason.to_owned()).map_err(|error| error.to_string())
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

    fn configure(settings: Settings, common: &CommonConfig, problems: &mut Problems) -> Option<Config> {
        Config::parse(settings, common.encryption, problems)
    }

    async fn serve(
        config: Config,
        common: CommonConfig,
        lifecycle: Lifecycle,
        registry: Registry,
    ) -> anyhow::Result<()> {
        let clock = DatabaseClock::new(SystemClock.now());
        let application = Application::build(config, &common, Arc::new(clock.clone()), &registry).await?;
        let known = clock.known();
        lifecycle
            .spawn("database_clock", clock.keep_right(application.database().clone(), lifecycle.stopping()));
        application.when(known).run(lifecycle).await
    }

    async fn run_command(command: Command, config: Config, common: CommonConfig) -> anyhow::Result<ExitCode> {
        let Command::Keys(command) = command;
        let database = Database::new(&common.command_database_settings(SERVICE_NAME))?;
        command.run(&database, &config, &common).await
    }

    async fn doctor(config: Config, common: CommonConfig) -> Vec<Finding> {
        let outcome = check_keys(&config, &common).await.map_err(|error| format!("{error:#}"));
        vec![Finding { name: "signing keys".to_owned(), outcome }]
    }
}

impl KeysCommand {
    async fn run(
        self,
        database: &Database,
        config: &Config,
        common: &CommonConfig,
    ) -> anyhow::Result<ExitCode> {
        let key_ring = &config.key_ring;
        match self {
            Self::List => {
                let now = DatabaseClock::set_once(database).await?.now();
                print!("{}", list_keys::list_keys(database, key_ring, now).await?);
                Ok(ExitCode::SUCCESS)
            }
            Self::Rotate { drop_current, reason } => {
                let request = RotateKeys { drop_current, reason, actor: facts::operator() };
                // The operator's machine may be off, and the replicas go by what is written.
                let clock = DatabaseClock::set_once(database).await?;
                let key = rotate_keys::rotate(database, key_ring, &clock, request).await?;
                println!("{} signs from {}", key.id, list_keys::spell(key.not_before));
                if let Err(error) =
                    PeerSignal::send_once(config.redis_url.as_ref(), &peer_scope(config, common)).await
                {
                    println!(
                        "Redis is away ({error:#}): replicas find the key by polling, within two seconds"
                    );
                }
                Ok(ExitCode::SUCCESS)
            }
            Self::Reseal { batch } => reseal(database, key_ring, batch).await,
        }
    }
}

async fn reseal(database: &Database, key_ring: &KeyRing, batch: i64) -> anyhow::Result<ExitCode> {
    let signing_keys = reseal_keys::reseal_signing_keys(database, key_ring).await?;
    let refresh_keys = reseal_keys::reseal_refresh_keys(database, key_ring, batch).await?;
    for (name, done) in [("signing keys", signing_keys), ("refresh keys", refresh_keys)] {
        let Resealed { renewed, current, unreadable } = done;
        println!("{name}: {renewed} sealed anew, {current} current, {unreadable} unreadable");
    }
    let is_complete = signing_keys.unreadable + refresh_keys.unreadable == 0;
    Ok(if is_complete { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

/// Only looks: the first key is made by a process that serves. Fails where such a process would never be ready.
async fn check_keys(config: &Config, common: &CommonConfig) -> anyhow::Result<String> {
    let database = Database::new(&common.command_database_settings(SERVICE_NAME))?;
    let keys = signing_keys::read(&database, &config.key_ring).await?;
    let now = DatabaseClock::set_once(&database).await?.now();
    if let Some(key) = keys.signer(now) {
        return Ok(format!("{} signs", key.id));
    }
    ensure!(keys.published(now).next().is_none(), LoadKeysError::NoneOpens(keys.iter().count()));
    Ok("there is none yet".to_owned())
}
