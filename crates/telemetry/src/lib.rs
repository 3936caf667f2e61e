#![doc = include_str!("../README.md")]
#![warn(missing_docs)]

mod export;
mod log;
pub mod metrics;
pub mod propagation;
mod redact;
mod settings;
mod setup;

pub use redact::redact;
pub use settings::{LogFormat, TelemetrySettings, UnknownLogFormat, check_log_filter};
pub use setup::{Telemetry, init, init_to_stderr};
