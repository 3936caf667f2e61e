//! What operators do with the binary besides serving.

pub mod breach_filter;
pub mod hash;
pub mod keys;

use std::process::ExitCode;

/// The exit code of a command that ran before there was any configuration.
#[must_use]
pub fn finish(outcome: anyhow::Result<ExitCode>) -> ExitCode {
    outcome.unwrap_or_else(|error| {
        eprintln!("{}: {error:#}", crate::state::SOURCE);
        ExitCode::FAILURE
    })
}
