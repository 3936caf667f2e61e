use std::{future::Future, panic, process::ExitCode};

use telemetry::TelemetrySettings;
use tracing::error;

use crate::{
    CommonConfig, Problems, Service,
    command_line::{self, Action, ConfigAction, Invocation, MigrateAction},
    config::DatabaseUrls,
    doctor, migrate,
    print_config::print_config,
    serve,
};

/// `EX_CONFIG` of sysexits.h.
const EXIT_CONFIG: u8 = 78;

/// What every `main` is: `fn main() -> ExitCode { service_runtime::main::<AuthApi>() }`.
#[must_use]
pub fn main<S: Service>() -> ExitCode {
    // It fails only where a provider is installed already, and then that one is used.
    rustls::crypto::ring::default_provider().install_default().ok();
    let (matches, invocation) = command_line::parse::<S>();
    let runtime = match tokio::runtime::Builder::new_multi_thread().enable_all().build() {
        Ok(runtime) => runtime,
        Err(error) => return failed(S::NAME, &error.into()),
    };
    let Invocation { own, common: settings, command } = invocation;
    let action = match command.unwrap_or(Action::Serve) {
        // A command that makes a key must work before there is one.
        Action::Own(command) => match S::run_without_configuration(command) {
            Ok(code) => return code,
            Err(command) => Action::Own(command),
        },
        action => action,
    };

    // A schema can be prepared where nothing else of the configuration is known.
    if let Action::Migrate(action) = &action
        && !matches!(action, MigrateAction::Up)
    {
        let mut problems = Problems::new();
        let urls = DatabaseUrls::parse_alone(&settings, &mut problems);
        migrate::require(*action, &urls, &mut problems);
        if !problems.is_empty() {
            return refuse(S::NAME, &problems);
        }
        return finish::<S>(runtime, migrate::run::<S>(*action, &urls));
    }

    let mut problems = Problems::new();
    let common = CommonConfig::parse(settings, S::NAME, S::VERSION, &mut problems);
    let config = S::configure(own, &common, &mut problems);
    let Some(config) = config.filter(|_| problems.is_empty()) else { return refuse(S::NAME, &problems) };

    match action {
        Action::Serve => finish::<S>(runtime, serve::run::<S>(config, common)),
        Action::Migrate(action) => finish::<S>(runtime, migrate_up::<S>(action, config, common)),
        Action::Config(ConfigAction::Check) => {
            println!("the configuration is valid");
            ExitCode::SUCCESS
        }
        Action::Config(ConfigAction::Print) => {
            print!("{}", print_config(&command_line::command::<S>(), &matches, &common));
            ExitCode::SUCCESS
        }
        Action::Doctor => finish::<S>(runtime, async { Ok(doctor::run::<S>(config, common).await) }),
        Action::Own(command) => finish::<S>(runtime, async {
            let telemetry = common.telemetry.clone();
            with_log_on_stderr(&telemetry, S::run_command(command, config, common)).await
        }),
    }
}

async fn migrate_up<S: Service>(
    action: MigrateAction,
    config: S::Config,
    common: CommonConfig,
) -> anyhow::Result<ExitCode> {
    let urls = DatabaseUrls {
        serving: common.database_url.clone(),
        migrations: common.migrations_database_url.clone(),
        bootstrap: None,
    };
    let telemetry = common.telemetry.clone();
    with_log_on_stderr(&telemetry, async {
        let code = migrate::run::<S>(action, &urls).await?;
        S::after_migrate_up(config, common).await?;
        Ok(code)
    })
    .await
}

/// Stdout belongs to what a command has to say.
async fn with_log_on_stderr(
    settings: &TelemetrySettings,
    command: impl Future<Output = anyhow::Result<ExitCode>>,
) -> anyhow::Result<ExitCode> {
    let telemetry = telemetry::init_to_stderr(settings)?;
    log_panics();
    let outcome = command.await;
    telemetry.shutdown().await;
    outcome
}

/// The default hook would write past the redaction.
pub(crate) fn log_panics() {
    panic::set_hook(Box::new(|panic| {
        let message = panic.payload_as_str().unwrap_or("no message");
        let location = panic.location().map(ToString::to_string);
        error!(panic.message = message, panic.location = location, "Something panicked: {message}");
    }));
}

fn finish<S: Service>(
    runtime: tokio::runtime::Runtime,
    work: impl Future<Output = anyhow::Result<ExitCode>>,
) -> ExitCode {
    let outcome = runtime.block_on(work);
    // What did not end within the drain time does not hold up the exit either.
    runtime.shutdown_background();
    outcome.unwrap_or_else(|error| failed(S::NAME, &error))
}

fn failed(service: &str, error: &anyhow::Error) -> ExitCode {
    eprintln!("{service}: {}", telemetry::redact(&format!("{error:#}")));
    ExitCode::FAILURE
}

fn refuse(service: &str, problems: &Problems) -> ExitCode {
    let (count, noun) = (problems.len(), if problems.len() == 1 { "mistake" } else { "mistakes" });
    eprintln!("{service}: the configuration has {count} {noun}:\n{problems}\nSee `{service} --help`.");
    ExitCode::from(EXIT_CONFIG)
}
