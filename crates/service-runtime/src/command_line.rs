use clap::{ArgMatches, Args, Command, CommandFactory, FromArgMatches, Parser, Subcommand};

use crate::{Service, settings::CommonSettings};

const EXIT_CODES: &str = "\
Every option can be given as the variable that it names. NAME and NAME_FILE are two ways to give one secret.
Durations are whole numbers with a unit: 500ms, 30s, 15m, 12h, 30d.

Exit codes: 0 success; 1 failure; 2 wrong command line; 70 a background task panicked; 78 mistakes in the configuration.";

/// A parsed command line.
#[derive(Parser)]
pub(crate) struct Invocation<A: Args, C: Subcommand> {
    #[command(flatten, next_help_heading = "Service")]
    pub own: A,
    #[command(flatten)]
    pub common: CommonSettings,
    #[command(subcommand)]
    pub command: Option<Action<C>>,
}

#[derive(Subcommand)]
pub(crate) enum Action<C: Subcommand> {
    /// Serves until SIGTERM or SIGINT; this is the default.
    Serve,
    /// Prepares the database and migrates the service's schema.
    #[command(subcommand)]
    Migrate(MigrateAction),
    /// Looks at the configuration without using it.
    #[command(subcommand)]
    Config(ConfigAction),
    /// Checks everything that the service depends on, and says what is wrong.
    Doctor,
    #[command(flatten)]
    Own(C),
}

#[derive(Debug, Clone, Copy, Subcommand)]
pub(crate) enum MigrateAction {
    /// Makes the database, the schema and the roles that the URLs name, or brings them up to date; needs `BOOTSTRAP_DATABASE_URL`.
    Bootstrap,
    /// Applies what is pending; does nothing when nothing is.
    Up,
    /// Reverts the last migrations.
    Down {
        /// How many.
        #[arg(value_name = "N", default_value_t = 1)]
        count: usize,
    },
    /// Lists this release's migrations and whether the database has them.
    Status,
    /// Lists what was applied to the database and when.
    History,
}

#[derive(Debug, Clone, Copy, Subcommand)]
pub(crate) enum ConfigAction {
    /// Reports every mistake and exits 78, or 0 when there is none.
    Check,
    /// Prints the effective configuration as variables; secrets are shown as `[set]`.
    Print,
}

/// The command line of a service.
pub(crate) fn command<S: Service>() -> Command {
    Invocation::<S::Settings, S::Command>::command()
        .name(S::NAME)
        .bin_name(S::NAME)
        .about(S::ABOUT)
        // Its presence gives every variable and default of `--help` a line of its own; `-h` stays compact.
        .long_about(S::ABOUT)
        .version(S::VERSION)
        .after_help(EXIT_CODES)
        .disable_help_subcommand(true)
        .subcommand_value_name("COMMAND")
        // Flags may stand before or after the command. The help is a reference: it does not show what this machine has set.
        .mut_args(|argument| argument.global(true).hide_env_values(true))
}

/// The process's own command line. Exits when it is wrong or asks for help.
pub(crate) fn parse<S: Service>() -> (ArgMatches, Invocation<S::Settings, S::Command>) {
    let mut command = command::<S>();
    let matches = command.get_matches_mut();
    match Invocation::from_arg_matches(&matches) {
        Ok(invocation) => (matches, invocation),
        Err(error) => error.format(&mut command).exit(),
    }
}
