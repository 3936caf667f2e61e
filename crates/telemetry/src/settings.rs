use std::{fmt, str::FromStr};

use tracing_subscriber::EnvFilter;
use url::Url;

/// How a process reports about itself.
#[derive(Debug, Clone)]
pub struct TelemetrySettings {
    /// The service's name, in every line and span.
    pub service: &'static str,
    /// The service's version.
    pub version: &'static str,
    /// `production` or `development`.
    pub environment: String,
    /// Which log lines are written, in the syntax of `tracing_subscriber::EnvFilter`.
    pub log_filter: String,
    /// How log lines look.
    pub log_format: LogFormat,
    /// The collector that spans are sent to by OTLP over gRPC; without one they are not recorded.
    pub otlp_endpoint: Option<Url>,
    /// The share of traces begun here that are recorded, 0 to 1. Traces begun elsewhere follow their beginning.
    pub trace_sample_ratio: f64,
}

/// How log lines look.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum LogFormat {
    /// For people on a terminal, JSON everywhere else.
    #[default]
    Auto,
    /// One JSON object a line.
    Json,
    /// For people.
    Pretty,
}

/// The text names no log format.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("is none of auto, json, pretty")]
pub struct UnknownLogFormat;

impl FromStr for LogFormat {
    type Err = UnknownLogFormat;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        match text {
            "auto" => Ok(Self::Auto),
            "json" => Ok(Self::Json),
            "pretty" => Ok(Self::Pretty),
            _ => Err(UnknownLogFormat),
        }
    }
}

impl fmt::Display for LogFormat {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Auto => "auto",
            Self::Json => "json",
            Self::Pretty => "pretty",
        })
    }
}

/// Says what is wrong with a log filter, if anything is.
pub fn check_log_filter(filter: &str) -> anyhow::Result<()> {
    EnvFilter::builder().parse(filter).map(drop).map_err(anyhow::Error::from)
}
