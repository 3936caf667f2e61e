//! What the stack keeps running: servers and services.

use rustix::process::Signal;
use std::time::Duration;
use tokio::process::Command;

/// A program in the foreground that says when it is ready.
pub(crate) trait Daemon: Send + Sync + 'static {
    /// How people call it, and its log file.
    fn name(&self) -> &'static str;

    /// Puts right what a start needs, whatever state an earlier one left.
    fn prepare(&self) -> impl Future<Output = anyhow::Result<()>> + Send {
        async { Ok(()) }
    }

    /// What to start, after [`Daemon::prepare`].
    fn command(&self) -> Command;

    /// Whether people want to see its warnings; its whole output is in its log anyway.
    fn shows_warnings(&self) -> bool {
        false
    }

    /// Called with each new pid.
    fn started(&self, _pid: u32) {}

    /// Why it is not ready yet.
    fn ready(&self) -> impl Future<Output = anyhow::Result<()>> + Send;

    /// The signal that asks it to end.
    fn stop_signal(&self) -> Signal;

    /// How long it may take to end before it is killed.
    fn stop_patience(&self) -> Duration {
        Duration::from_secs(10)
    }
}
