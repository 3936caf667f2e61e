//! The command line.

use std::{ffi::OsString, process::ExitCode};

use clap::{Parser, Subcommand};

use crate::{
    checkout::{Checkout, programs},
    interrupt::Interrupts,
    logs::Logs,
    packages::{self, NotInstalled, Purpose},
    progress::Progress,
    stack::{self, Settings},
    with_servers,
};

/// sysexits.h: something that we need is not there.
const UNAVAILABLE: u8 = 69;

/// Runs Feature Auth on this machine, with private servers.
#[derive(Debug, Parser)]
#[command(name = "dev-stack", version)]
struct Arguments {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Starts everything and runs until Ctrl-C.
    Run(Settings),
    /// Stops this checkout's stack.
    Stop,
    /// Runs a command with `TEST_POSTGRES_URL`, `TEST_REDIS_URL`, `TEST_AMQP_URL` and `TEST_AMQP_MANAGEMENT_URL` of throw-away servers.
    WithServers {
        /// The command and its arguments.
        #[arg(required = true, trailing_var_arg = true, allow_hyphen_values = true)]
        command: Vec<OsString>,
    },
    /// Installs what clients in other languages need, for the tests of our documentation: Python with venv, Node.js and npm.
    InstallLanguages,
}

/// The whole program.
///
/// One thread, because the kernel takes the end of the thread that started a child for the death of its parent.
///
/// # Panics
/// When the system does not give us what an event loop needs.
#[must_use]
#[tokio::main(flavor = "current_thread")]
pub async fn main() -> ExitCode {
    let arguments = Arguments::parse();
    // There is none before us, so this cannot fail.
    let _ = rustls::crypto::ring::default_provider().install_default();
    let result = match arguments.command {
        Command::Run(settings) => stack::run(settings).await,
        Command::Stop => stop().await,
        Command::WithServers { command } => with_servers::run(&command).await,
        Command::InstallLanguages => install_languages().await,
    };
    result.unwrap_or_else(|error| {
        complain(&format!("{error:#}"));
        if error.is::<NotInstalled>() { UNAVAILABLE.into() } else { ExitCode::FAILURE }
    })
}

async fn install_languages() -> anyhow::Result<ExitCode> {
    let mut interrupts = Interrupts::catch()?;
    let logs = Logs::in_directory(&programs()?.join("install-languages"))?;
    packages::ensure_installed(Purpose::Languages, &logs, &Progress::quiet_to_stderr(), &mut interrupts)
        .await?;
    Ok(ExitCode::SUCCESS)
}

async fn stop() -> anyhow::Result<ExitCode> {
    let stopped = Checkout::find()?.stop_stack().await?;
    complain(if stopped { "Stopped." } else { "No stack of this checkout runs." });
    Ok(ExitCode::SUCCESS)
}

/// To standard error, which may be closed.
fn complain(message: &str) {
    use std::io::Write;
    let _ = writeln!(std::io::stderr(), "{message}");
}
