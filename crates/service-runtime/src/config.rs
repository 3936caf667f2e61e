use std::{
    net::{Ipv4Addr, SocketAddr},
    path::PathBuf,
    time::Duration,
};

use secrecy::{ExposeSecret, SecretString};
use telemetry::TelemetrySettings;
use url::Url;

use crate::{
    Problems, Transport,
    encryption::Encryption,
    settings::{BrokerSettings, CommonSettings, DatabaseSettings, LogAndTraceSettings, ProcessSettings},
};

/// What every service is configured with.
#[derive(Debug, Clone)]
pub struct CommonConfig {
    /// Whether development values are accepted.
    pub environment: Environment,
    /// Whether we must encrypt what leaves this machine.
    pub encryption: Encryption,
    /// The database, as the role that serves.
    pub database_url: SecretString,
    /// The database, as the role that owns the schema.
    pub migrations_database_url: SecretString,
    /// The database, as a role that may make roles and schemas; only for `migrate bootstrap`.
    pub bootstrap_database_url: Option<SecretString>,
    /// The size of the connection pool.
    pub database_max_connections: usize,
    /// The message broker.
    pub amqp_url: SecretString,
    /// Where `/livez`, `/readyz` and `/metrics` are answered.
    pub management_listen: SocketAddr,
    /// Logs and traces.
    pub telemetry: TelemetrySettings,
    /// How gRPC travels, in both directions.
    pub transport: Transport,
    /// How the process stops.
    pub shutdown: ShutdownSettings,
}

/// Whether the process serves real users.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Environment {
    /// A developer's machine or a test.
    Development,
    /// Anything else; development values are refused.
    Production,
}

impl Environment {
    /// As it is written in `ENVIRONMENT`. Part of what access tokens are bound to: never change a name.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Development => "development",
            Self::Production => "production",
        }
    }
}

/// How a process stops.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ShutdownSettings {
    /// How long it serves on after `/readyz` began to say "stopping", so that load balancers notice.
    pub delay: Duration,
    /// How long it waits for work that was begun.
    pub drain: Duration,
}

impl CommonConfig {
    /// The pool's settings; `application_name` is what `pg_stat_activity` shows.
    #[must_use]
    pub fn database_settings(&self, application_name: &'static str) -> pg::DatabaseSettings {
        pg::DatabaseSettings {
            max_connections: self.database_max_connections,
            ..pg::DatabaseSettings::new(self.database_url.clone(), application_name)
        }
    }

    /// The same for a command that an operator waits for: it has ten seconds for a connection, where a request has half a one.
    #[must_use]
    pub fn command_database_settings(&self, application_name: &'static str) -> pg::DatabaseSettings {
        pg::DatabaseSettings {
            acquire_timeout: Duration::from_secs(10),
            ..self.database_settings(application_name)
        }
    }

    /// Parses the settings. What is wrong is added to `problems` and stands in the result as a placeholder, so that the service's own
    /// settings can be judged in the same run; the result must not be used when there were problems.
    pub(crate) fn parse(
        settings: CommonSettings,
        service: &'static str,
        version: &'static str,
        problems: &mut Problems,
    ) -> Self {
        let environment = parse_environment(&settings.process, problems);
        let encryption = Encryption::parse(&settings.transport, environment, problems);
        let database = DatabaseUrls::parse(&settings.database, encryption, problems);
        Self {
            environment,
            encryption,
            database_url: database.serving,
            migrations_database_url: database.migrations,
            bootstrap_database_url: database.bootstrap,
            database_max_connections: parse_max_connections(&settings.database, problems),
            amqp_url: parse_amqp_url(settings.broker, encryption, problems),
            management_listen: problems
                .parse("MANAGEMENT_LISTEN", &settings.process.management_listen)
                .unwrap_or_else(|| SocketAddr::from((Ipv4Addr::LOCALHOST, 0))),
            telemetry: parse_telemetry(
                &settings.telemetry,
                environment,
                encryption,
                service,
                version,
                problems,
            ),
            transport: Transport::parse(&settings.transport, encryption, problems),
            shutdown: parse_shutdown(&settings.process, environment, problems),
        }
    }
}

/// The databases alone: all that most of `migrate` needs.
pub(crate) struct DatabaseUrls {
    pub serving: SecretString,
    pub migrations: SecretString,
    pub bootstrap: Option<SecretString>,
}

impl DatabaseUrls {
    /// For a command that needs nothing else.
    pub(crate) fn parse_alone(settings: &CommonSettings, problems: &mut Problems) -> Self {
        let environment = parse_environment(&settings.process, problems);
        let encryption = Encryption::parse(&settings.transport, environment, problems);
        Self::parse(&settings.database, encryption, problems)
    }

    fn parse(settings: &DatabaseSettings, encryption: Encryption, problems: &mut Problems) -> Self {
        let mut url = |variable: &str, value: &Option<String>, file: &Option<PathBuf>| {
            let url = problems.optional_secret(variable, value.clone(), file.clone());
            url.filter(|url| check_database_url(problems, variable, url, encryption))
        };
        let migrations = url(
            "MIGRATIONS_DATABASE_URL",
            &settings.migrations_database_url,
            &settings.migrations_database_url_file,
        );
        let bootstrap = url(
            "BOOTSTRAP_DATABASE_URL",
            &settings.bootstrap_database_url,
            &settings.bootstrap_database_url_file,
        );
        let serving = problems
            .required_secret(
                "DATABASE_URL",
                settings.database_url.clone(),
                settings.database_url_file.clone(),
            )
            .filter(|url| check_database_url(problems, "DATABASE_URL", url, encryption))
            .unwrap_or_default();
        Self { migrations: migrations.unwrap_or_else(|| serving.clone()), serving, bootstrap }
    }
}

/// The value, unless it is empty: a variable that is set to nothing counts as not set.
pub(crate) fn given(value: Option<&String>) -> Option<&str> {
    value.map(String::as_str).filter(|value| !value.is_empty())
}

fn parse_environment(settings: &ProcessSettings, problems: &mut Problems) -> Environment {
    match settings.environment.as_str() {
        "development" => Environment::Development,
        "production" => Environment::Production,
        _ => {
            problems.add("ENVIRONMENT", "must be production or development");
            Environment::Production
        }
    }
}

fn parse_max_connections(settings: &DatabaseSettings, problems: &mut Problems) -> usize {
    let connections = problems.parse("DATABASE_MAX_CONNECTIONS", &settings.database_max_connections);
    if connections.is_some_and(|count| !(1..=1000).contains(&count)) {
        problems.add("DATABASE_MAX_CONNECTIONS", "must be from 1 to 1000");
    }
    connections.unwrap_or(1)
}

fn parse_amqp_url(settings: BrokerSettings, encryption: Encryption, problems: &mut Problems) -> SecretString {
    let secret = problems.required_secret("AMQP_URL", settings.amqp_url, settings.amqp_url_file);
    let url = secret.as_ref().and_then(|url| parse_url(problems, "AMQP_URL", url, &["amqp", "amqps"]));
    if let Some(url) = url {
        encryption.check_url(problems, "AMQP_URL", &url, "amqps");
    }
    secret.unwrap_or_default()
}

fn parse_telemetry(
    settings: &LogAndTraceSettings,
    environment: Environment,
    encryption: Encryption,
    service: &'static str,
    version: &'static str,
    problems: &mut Problems,
) -> TelemetrySettings {
    if let Err(error) = telemetry::check_log_filter(&settings.log_filter) {
        problems.add("LOG_FILTER", format_args!("cannot be understood: {error}"));
    }
    let otlp_endpoint = given(settings.otlp_endpoint.as_ref())
        .and_then(|endpoint| problems.parse::<Url>("OTEL_EXPORTER_OTLP_ENDPOINT", endpoint));
    if let Some(url) = &otlp_endpoint {
        if matches!(url.scheme(), "http" | "https") {
            encryption.check_url(problems, "OTEL_EXPORTER_OTLP_ENDPOINT", url, "https");
        } else {
            problems.add("OTEL_EXPORTER_OTLP_ENDPOINT", "must begin with http:// or https://");
        }
    }
    let ratio: Option<f64> = problems.parse("TRACE_SAMPLE_RATIO", &settings.trace_sample_ratio);
    if ratio.is_some_and(|ratio| !(0.0..=1.0).contains(&ratio)) {
        problems.add("TRACE_SAMPLE_RATIO", "must be from 0 to 1");
    }
    TelemetrySettings {
        service,
        version,
        environment: environment.name().to_owned(),
        log_filter: settings.log_filter.clone(),
        log_format: problems.parse("LOG_FORMAT", &settings.log_format).unwrap_or_default(),
        otlp_endpoint,
        trace_sample_ratio: ratio.unwrap_or_default(),
    }
}

fn parse_shutdown(
    settings: &ProcessSettings,
    environment: Environment,
    problems: &mut Problems,
) -> ShutdownSettings {
    let delay = match given(settings.shutdown_delay.as_ref()) {
        Some(delay) => problems.parse_duration("SHUTDOWN_DELAY", delay).unwrap_or_default(),
        None if environment == Environment::Development => Duration::ZERO,
        None => Duration::from_secs(5),
    };
    let drain = problems.parse_duration("SHUTDOWN_DRAIN", &settings.shutdown_drain).unwrap_or_default();
    ShutdownSettings { delay, drain }
}

/// The parser's own message could repeat parts of the URL, and with them the password.
fn parse_url(problems: &mut Problems, variable: &str, url: &SecretString, schemes: &[&str]) -> Option<Url> {
    let Ok(url) = Url::parse(url.expose_secret()) else {
        problems.add(variable, "is not a URL");
        return None;
    };
    if !schemes.contains(&url.scheme()) {
        problems.add(variable, format_args!("must begin with {}://", schemes.join(":// or ")));
        return None;
    }
    Some(url)
}

fn check_database_url(
    problems: &mut Problems,
    variable: &str,
    url: &SecretString,
    encryption: Encryption,
) -> bool {
    let understood = parse_url(problems, variable, url, &["postgres", "postgresql"]).is_some();
    if understood {
        encryption.check_database_url(problems, variable, url);
    }
    understood
}
