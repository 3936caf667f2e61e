use std::path::{Path, PathBuf};

use rustix::process::Signal;
use tokio::{net::TcpStream, process::Command};

use super::with_clean_environment;
use crate::{
    daemon::Daemon,
    guard::{Account, DeathSignal, guarded},
    ports::Port,
};

/// Erlang's name server. RabbitMQ would start one by itself, as a daemon that stays behind.
#[derive(Debug)]
pub(crate) struct Epmd {
    directory: PathBuf,
    port: Port,
}

impl Epmd {
    pub(crate) fn new(directory: &Path, port: Port) -> Self {
        Self { directory: directory.to_owned(), port }
    }

    pub(crate) fn port(&self) -> u16 {
        self.port.number()
    }
}

impl Daemon for Epmd {
    fn name(&self) -> &'static str {
        "epmd"
    }

    fn command(&self) -> Command {
        self.port.release();
        let mut command = guarded(Account::Ours, Path::new("epmd"), DeathSignal::Kill);
        with_clean_environment(&mut command, &self.directory);
        command.args(["-address", "127.0.0.1", "-port", &self.port.number().to_string()]);
        command
    }

    async fn ready(&self) -> anyhow::Result<()> {
        TcpStream::connect(self.port.addr()).await?;
        Ok(())
    }

    fn stop_signal(&self) -> Signal {
        Signal::TERM
    }
}
