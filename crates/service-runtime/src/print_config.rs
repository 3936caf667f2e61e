use std::{fmt::Write, time::Duration};

use clap::{Arg, ArgMatches, Command, parser::ValueSource};

use crate::CommonConfig;

/// The effective configuration, a variable a line. A variable is secret when it has a `_FILE` sibling.
pub(crate) fn print_config(command: &Command, matches: &ArgMatches, common: &CommonConfig) -> String {
    let mut arguments: Vec<(&str, &Arg)> = command
        .get_arguments()
        .filter_map(|argument| Some((argument.get_env()?.to_str()?, argument)))
        .collect();
    arguments.sort_by_key(|(variable, _)| *variable);
    let is_secret = |variable: &str| {
        arguments.iter().any(|(other, _)| other.strip_suffix("_FILE").is_some_and(|name| name == variable))
    };
    let mut text = String::new();
    for (variable, argument) in &arguments {
        let given = value(argument, matches);
        let shown = match given {
            Some(_) if is_secret(variable) => "[set]".to_owned(),
            Some(value) => telemetry::redact(&value).into_owned(),
            None => derived(variable, common).unwrap_or_default(),
        };
        let source = match matches.value_source(argument.get_id().as_str()) {
            Some(ValueSource::CommandLine) => "  # command line",
            Some(ValueSource::EnvVariable) => "",
            _ => "  # default",
        };
        // Writing to a String cannot fail.
        writeln!(text, "{variable}={shown}{source}").ok();
    }
    text
}

fn value(argument: &Arg, matches: &ArgMatches) -> Option<String> {
    let values = matches.get_raw(argument.get_id().as_str())?;
    let values: Vec<_> = values.map(|value| value.to_string_lossy()).collect();
    Some(values.join(",")).filter(|value| !value.is_empty())
}

/// Defaults that depend on other variables.
fn derived(variable: &str, common: &CommonConfig) -> Option<String> {
    match variable {
        "SHUTDOWN_DELAY" => Some(in_seconds(common.shutdown.delay)),
        "MIGRATIONS_DATABASE_URL" => Some("[as DATABASE_URL]".to_owned()),
        _ => None,
    }
}

fn in_seconds(duration: Duration) -> String {
    format!("{}s", duration.as_secs())
}
