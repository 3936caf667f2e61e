use std::{
    fs,
    path::{Path, PathBuf},
    time::Duration,
};

use anyhow::{Context, ensure};
use rustix::process::Signal;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
    process::Command,
};

use super::{Durability, with_clean_environment};
use crate::{
    daemon::Daemon,
    guard::{Account, DeathSignal, guarded},
    ports::Port,
    private_file,
    secrets::{kept, password},
};

/// A private Redis.
#[derive(Debug)]
pub(crate) struct Redis {
    directory: PathBuf,
    port: Port,
    password: String,
    durability: Durability,
}

impl Redis {
    pub(crate) fn new(directory: &Path, port: Port, durability: Durability) -> anyhow::Result<Self> {
        fs::create_dir_all(directory).with_context(|| format!("cannot make {}", directory.display()))?;
        let password = kept(&directory.join("password"), password)?;
        Ok(Self { directory: directory.to_owned(), port, password, durability })
    }

    pub(crate) fn url(&self) -> String {
        format!("redis://:{}@127.0.0.1:{}/0", self.password, self.port.number())
    }

    fn configuration(&self) -> PathBuf {
        self.directory.join("redis.conf")
    }
}

impl Daemon for Redis {
    fn name(&self) -> &'static str {
        "redis"
    }

    async fn prepare(&self) -> anyhow::Result<()> {
        let append = if self.durability == Durability::Kept { "yes" } else { "no" };
        // noeviction: limits that are evicted are no limits.
        let configuration = format!(
            "bind 127.0.0.1\nport {port}\nrequirepass {password}\ndaemonize no\nlogfile \"\"\nsave \"\"\n\
             appendonly {append}\nappendfsync everysec\nmaxmemory 256mb\nmaxmemory-policy noeviction\n",
            port = self.port.number(),
            password = self.password,
        );
        private_file::write(&self.configuration(), &configuration)
    }

    fn command(&self) -> Command {
        self.port.release();
        let mut command = guarded(Account::Ours, Path::new("redis-server"), DeathSignal::Kill);
        with_clean_environment(&mut command, &self.directory);
        // Its data go into the working directory.
        command.arg(self.configuration()).current_dir(&self.directory);
        command
    }

    async fn ready(&self) -> anyhow::Result<()> {
        let ping = async {
            let mut stream = TcpStream::connect(self.port.addr()).await?;
            stream.write_all(format!("AUTH {}\r\nPING\r\n", self.password).as_bytes()).await?;
            let mut answer = [0; b"+OK\r\n+PONG\r\n".len()];
            stream.read_exact(&mut answer).await?;
            ensure!(&answer == b"+OK\r\n+PONG\r\n", "answers {}", String::from_utf8_lossy(&answer));
            Ok(())
        };
        tokio::time::timeout(Duration::from_secs(2), ping).await?
    }

    fn stop_signal(&self) -> Signal {
        match self.durability {
            Durability::Kept => Signal::TERM,
            Durability::ThrownAway => Signal::KILL,
        }
    }
}
