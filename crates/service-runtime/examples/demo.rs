//! The smallest service: `cargo run -p service-runtime --example demo -- --help`.

use std::process::ExitCode;

use secrecy::{ExposeSecret, SecretString};
use service_runtime::{CommonConfig, EmbeddedMigrations, Finding, Lifecycle, Problems, Registry, Service};
use tracing::info;

fn main() -> ExitCode {
    service_runtime::main::<Demo>()
}

struct Demo;

#[derive(Clone, clap::Args)]
struct Settings {
    /// Whom to greet.
    #[arg(long, env = "GREETED", value_name = "NAME", default_value = "world")]
    greeted: String,
    /// How many greetings fit into an hour. Required.
    #[arg(long, env = "GREETING_RATE", value_name = "COUNT")]
    greeting_rate: Option<String>,
    /// The key that greetings are signed with. Required.
    #[arg(long, env = "GREETING_KEY", value_name = "KEY")]
    greeting_key: Option<String>,
    /// A file that holds `GREETING_KEY`.
    #[arg(long, env = "GREETING_KEY_FILE", value_name = "PATH")]
    greeting_key_file: Option<std::path::PathBuf>,
}

#[derive(Debug, Clone)]
struct Config {
    greeted: String,
    rate: u32,
    key: SecretString,
}

#[derive(Debug, clap::Subcommand)]
enum Command {
    /// Greets once.
    Greet,
}

impl Service for Demo {
    const NAME: &'static str = "demo";
    const ABOUT: &'static str = "Greets people.";
    const VERSION: &'static str = env!("CARGO_PKG_VERSION");
    const SCHEMA: &'static str = "demo";

    type Settings = Settings;
    type Config = Config;
    type Command = Command;

    fn migrations() -> EmbeddedMigrations {
        EmbeddedMigrations::new(&[])
    }

    fn configure(settings: Settings, _common: &CommonConfig, problems: &mut Problems) -> Option<Config> {
        let rate = problems.required("GREETING_RATE", settings.greeting_rate);
        let rate = rate.and_then(|rate| problems.parse("GREETING_RATE", &rate));
        let key = problems.required_secret("GREETING_KEY", settings.greeting_key, settings.greeting_key_file);
        Some(Config { greeted: settings.greeted, rate: rate?, key: key? })
    }

    async fn serve(
        config: Config,
        common: CommonConfig,
        lifecycle: Lifecycle,
        _registry: Registry,
    ) -> anyhow::Result<()> {
        lifecycle.readiness().require("greeter", || Box::pin(async { Ok(()) }));
        // Lazy: it is observed here and not required, so that the example is ready without a database.
        let database = pg::Database::new(&common.database_settings(Self::NAME))?;
        lifecycle.readiness().observe("postgres", move || {
            let database = database.clone();
            Box::pin(async move { database.ping().await.map_err(|error| error.to_string()) })
        });
        let stopping = lifecycle.stopping();
        lifecycle.spawn("greeter", async move {
            assert_ne!(config.greeted, "nobody", "there is nobody to greet");
            // Never do that. It is here for the test that sees the redaction catch it.
            info!(rate = config.rate, signing_key = config.key.expose_secret(), "Hello {}", config.greeted);
            stopping.cancelled().await;
            info!("The last greeting was sent");
        });
        lifecycle.stopping().cancelled().await;
        Ok(())
    }

    async fn run_command(
        command: Command,
        config: Config,
        _common: CommonConfig,
    ) -> anyhow::Result<ExitCode> {
        match command {
            Command::Greet => println!("hello {}", config.greeted),
        }
        Ok(ExitCode::SUCCESS)
    }

    async fn doctor(config: Config, _common: CommonConfig) -> Vec<Finding> {
        vec![Finding { name: "rate".to_owned(), outcome: Ok(format!("{} an hour", config.rate)) }]
    }
}
