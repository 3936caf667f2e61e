use std::{ffi::OsStr, process::Stdio};

use anyhow::{Context, bail};
use tokio::{
    io::{AsyncBufReadExt, BufReader},
    process::{Child, Command},
};

use crate::{ceiling::Announcement, client::Identity};

/// A ceiling in a process of its own, ended with this value.
pub struct CeilingProcess {
    command: Command,
}

/// A ceiling that listens.
pub struct CeilingServer {
    /// Where.
    pub address: String,
    /// Its standard input is open as long as this lives, and it is killed when this is dropped.
    _process: Child,
}

impl CeilingProcess {
    /// `load ceiling <name>`, from this very program.
    pub fn new(name: &str) -> anyhow::Result<Self> {
        let mut command = Command::new(std::env::current_exe()?);
        command.args(["ceiling", name]).stdin(Stdio::piped()).stdout(Stdio::piped()).kill_on_drop(true);
        Ok(Self { command })
    }

    /// With one more option.
    #[must_use]
    pub fn option(mut self, name: &str, value: impl AsRef<OsStr>) -> Self {
        self.command.arg(name).arg(value);
        self
    }

    /// With the database; not among the arguments, which everybody can read.
    #[must_use]
    pub fn database(mut self, url: &str) -> Self {
        self.command.env("LOAD_DATABASE_URL", url);
        self
    }

    /// With the three files of an identity.
    #[must_use]
    pub fn identity(mut self, identity: &Identity) -> Self {
        for (option, path) in [("--ca", &identity.ca), ("--cert", &identity.cert), ("--key", &identity.key)] {
            if let Some(path) = path {
                self.command.arg(option).arg(path);
            }
        }
        self
    }

    /// Starts it and waits until it listens.
    pub async fn listening(self) -> anyhow::Result<CeilingServer> {
        match self.announced().await? {
            (Announcement::Listening(address), process) => Ok(CeilingServer { address, _process: process }),
            (other, _) => bail!("a ceiling said {other:?}"),
        }
    }

    /// Runs it to its end; so much a second.
    pub async fn rate(self) -> anyhow::Result<f64> {
        match self.announced().await? {
            (Announcement::PerSecond(rate), mut process) => {
                process.wait().await?;
                Ok(rate)
            }
            (other, _) => bail!("a ceiling said {other:?}"),
        }
    }

    async fn announced(mut self) -> anyhow::Result<(Announcement, Child)> {
        let mut process = self.command.spawn().context("cannot start a ceiling")?;
        let output = process.stdout.take().context("a ceiling has no output")?;
        let mut line = String::new();
        BufReader::new(output).read_line(&mut line).await?;
        let announcement = serde_json::from_str(&line).with_context(|| format!("a ceiling said {line:?}"))?;
        Ok((announcement, process))
    }
}
