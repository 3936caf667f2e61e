use std::{sync::Arc, time::Duration};

use rustix::process::Signal;
use tokio::process::Command;

use super::stack_env::StackEnv;
use crate::daemon::Daemon;

/// A server whose pid is in `stack.env`.
pub(super) struct Announced<D> {
    pub server: D,
    pub pid_variable: &'static str,
    pub stack_env: Arc<StackEnv>,
}

impl<D: Daemon> Daemon for Announced<D> {
    fn name(&self) -> &'static str {
        self.server.name()
    }

    async fn prepare(&self) -> anyhow::Result<()> {
        self.server.prepare().await
    }

    fn command(&self) -> Command {
        self.server.command()
    }

    fn shows_warnings(&self) -> bool {
        self.server.shows_warnings()
    }

    fn started(&self, pid: u32) {
        self.server.started(pid);
        // As with the services' pids: the next write tells of a full disk.
        let _ = self.stack_env.set(self.pid_variable, pid.to_string());
    }

    async fn ready(&self) -> anyhow::Result<()> {
        self.server.ready().await
    }

    fn stop_signal(&self) -> Signal {
        self.server.stop_signal()
    }

    fn stop_patience(&self) -> Duration {
        self.server.stop_patience()
    }
}
