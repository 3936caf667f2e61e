//! The flags and variables of every service, as text; `config` parses them.

use std::path::PathBuf;

use clap::Args;

#[derive(Clone, Args)]
pub(crate) struct CommonSettings {
    #[command(flatten)]
    pub process: ProcessSettings,
    #[command(flatten)]
    pub database: DatabaseSettings,
    #[command(flatten)]
    pub broker: BrokerSettings,
    #[command(flatten)]
    pub transport: TransportSettings,
    #[command(flatten)]
    pub telemetry: LogAndTraceSettings,
}

#[derive(Debug, Clone, Args)]
#[command(next_help_heading = "Process")]
pub(crate) struct ProcessSettings {
    /// `production` refuses development values; `development` accepts them.
    #[arg(long, env = "ENVIRONMENT", value_name = "NAME", default_value = "production")]
    pub environment: String,
    /// The address of the management listener, which answers `/livez`, `/readyz` and `/metrics`. Keep it inside the cluster.
    #[arg(long, env = "MANAGEMENT_LISTEN", value_name = "ADDRESS:PORT", default_value = "0.0.0.0:9000")]
    pub management_listen: String,
    /// How long to serve on after a stop signal while `/readyz` says "stopping", so that load balancers notice. [default: 5s, 0s in development]
    #[arg(long, env = "SHUTDOWN_DELAY", value_name = "DURATION")]
    pub shutdown_delay: Option<String>,
    /// How long to wait for work in progress before the process ends all the same.
    #[arg(long, env = "SHUTDOWN_DRAIN", value_name = "DURATION", default_value = "20s")]
    pub shutdown_drain: String,
}

#[derive(Clone, Args)]
#[command(next_help_heading = "Database")]
pub(crate) struct DatabaseSettings {
    /// The PostgreSQL URL of the role that serves: `postgres://role:password@host:5432/database`. In production it needs `?sslmode=require`,
    /// unless the host is this one. Required.
    #[arg(long, env = "DATABASE_URL", value_name = "URL")]
    pub database_url: Option<String>,
    /// A file that holds `DATABASE_URL`.
    #[arg(long, env = "DATABASE_URL_FILE", value_name = "PATH")]
    pub database_url_file: Option<PathBuf>,
    /// The PostgreSQL URL of the role that owns the schema; `migrate` uses it. [default: `DATABASE_URL`]
    #[arg(long, env = "MIGRATIONS_DATABASE_URL", value_name = "URL")]
    pub migrations_database_url: Option<String>,
    /// A file that holds `MIGRATIONS_DATABASE_URL`.
    #[arg(long, env = "MIGRATIONS_DATABASE_URL_FILE", value_name = "PATH")]
    pub migrations_database_url_file: Option<PathBuf>,
    /// The PostgreSQL URL of a role that may create databases, roles and schemas; only `migrate bootstrap` uses it.
    #[arg(long, env = "BOOTSTRAP_DATABASE_URL", value_name = "URL")]
    pub bootstrap_database_url: Option<String>,
    /// A file that holds `BOOTSTRAP_DATABASE_URL`.
    #[arg(long, env = "BOOTSTRAP_DATABASE_URL_FILE", value_name = "PATH")]
    pub bootstrap_database_url_file: Option<PathBuf>,
    /// The size of the connection pool.
    #[arg(long, env = "DATABASE_MAX_CONNECTIONS", value_name = "COUNT", default_value = "16")]
    pub database_max_connections: String,
}

#[derive(Clone, Args)]
#[command(next_help_heading = "Message broker")]
pub(crate) struct BrokerSettings {
    /// The RabbitMQ URL: `amqp://user:password@host:5672/vhost`, or `amqps://` with TLS, which production needs unless the host is this one.
    /// Required.
    #[arg(long, env = "AMQP_URL", value_name = "URL")]
    pub amqp_url: Option<String>,
    /// A file that holds `AMQP_URL`.
    #[arg(long, env = "AMQP_URL_FILE", value_name = "PATH")]
    pub amqp_url_file: Option<PathBuf>,
}

#[derive(Debug, Clone, Args)]
#[command(next_help_heading = "Between services")]
pub(crate) struct TransportSettings {
    /// The PEM file with the authority that the certificates of all services come from.
    #[arg(long, env = "TLS_CA", value_name = "PATH")]
    pub tls_ca: Option<PathBuf>,
    /// The PEM file with this service's certificate chain; its URI SAN `spiffe://feature-auth/<role>` is who it is.
    #[arg(long, env = "TLS_CERT", value_name = "PATH")]
    pub tls_cert: Option<PathBuf>,
    /// The PEM file with the certificate's private key.
    #[arg(long, env = "TLS_KEY", value_name = "PATH")]
    pub tls_key: Option<PathBuf>,
    /// `true` speaks gRPC without TLS; anybody who can connect may call. Refused in production without `SERVICE_MESH_TLS`.
    #[arg(long, env = "GRPC_PLAINTEXT", value_name = "BOOL", default_value = "false")]
    pub grpc_plaintext: String,
    /// `true` says that a service mesh encrypts and authenticates what leaves this process, so that production accepts `GRPC_PLAINTEXT` and
    /// servers without TLS.
    #[arg(long, env = "SERVICE_MESH_TLS", value_name = "BOOL", default_value = "false")]
    pub service_mesh_tls: String,
}

#[derive(Debug, Clone, Args)]
#[command(next_help_heading = "Logs and traces")]
pub(crate) struct LogAndTraceSettings {
    /// Which log lines are written: a level, or directives such as `info,auth_api=debug`.
    #[arg(long, env = "LOG_FILTER", value_name = "FILTER", default_value = "info")]
    pub log_filter: String,
    /// How log lines look: `json`, `pretty`, or `auto`, which is pretty on a terminal and JSON elsewhere.
    #[arg(long, env = "LOG_FORMAT", value_name = "FORMAT", default_value = "auto")]
    pub log_format: String,
    /// The collector that spans are sent to by OTLP over gRPC, for example `http://collector:4317`; in production
    /// `https://`, unless the host is this one. Without one no spans are sent.
    #[arg(long, env = "OTEL_EXPORTER_OTLP_ENDPOINT", value_name = "URL")]
    pub otlp_endpoint: Option<String>,
    /// The share of the traces begun here that are sent, from 0 to 1; a trace that a caller began follows the caller.
    #[arg(long, env = "TRACE_SAMPLE_RATIO", value_name = "RATIO", default_value = "1.0")]
    pub trace_sample_ratio: String,
}
