use std::{
    fs,
    path::{Path, PathBuf},
    time::{Duration, Instant},
};

use anyhow::{Context, bail, ensure};
use rustix::process::{Pid, Signal, kill_process, test_kill_process};
use tokio::process::Command;

use super::{Durability, with_clean_environment};
use crate::{
    daemon::Daemon,
    guard::{Account, DeathSignal, guarded, run_to_end},
    packages,
    ports::Port,
    private_file,
    secrets::{kept, password},
};

/// A killed server needs a moment to be gone.
const LEFTOVER_PATIENCE: Duration = Duration::from_secs(20);

/// A private PostgreSQL.
#[derive(Debug)]
pub(crate) struct Postgres {
    directory: PathBuf,
    programs: PathBuf,
    account: Account,
    port: Port,
    password: String,
    durability: Durability,
}

impl Postgres {
    pub(crate) async fn new(directory: &Path, port: Port, durability: Durability) -> anyhow::Result<Self> {
        fs::create_dir_all(directory).with_context(|| format!("cannot make {}", directory.display()))?;
        let programs = programs_for(&directory.join("data"))?;
        Ok(Self {
            account: Account::for_postgres(directory).await?,
            password: kept(&directory.join("password"), password)?,
            directory: directory.to_owned(),
            programs,
            port,
            durability,
        })
    }

    /// The superuser's URL.
    pub(crate) fn url(&self, database: &str) -> String {
        format!("postgres://postgres:{}@127.0.0.1:{}/{database}", self.password, self.port.number())
    }

    /// Whether there were data before this start.
    pub(crate) fn has_data(&self) -> bool {
        self.data().exists()
    }

    fn data(&self) -> PathBuf {
        self.directory.join("data")
    }

    fn program(&self, name: &str, death_signal: DeathSignal) -> Command {
        let mut command = guarded(self.account, &self.programs.join(name), death_signal);
        with_clean_environment(&mut command, &self.directory);
        command.current_dir(&self.directory);
        command
    }

    /// Makes the data directory under another name first, so that it is there whole or not at all.
    async fn initialise(&self) -> anyhow::Result<()> {
        let new = self.directory.join("data.new");
        if new.exists() {
            fs::remove_dir_all(&new).context("cannot remove a half-made data directory")?;
        }
        let password_file = self.directory.join("initdb-password");
        private_file::write(&password_file, &self.password)?;
        if self.account != Account::Ours {
            let owned = Command::new("chown").arg("postgres:postgres").arg(&password_file).status().await?;
            ensure!(owned.success(), "cannot give {} to the user postgres", password_file.display());
        }
        let mut initdb = self.program("initdb", DeathSignal::Kill);
        initdb.args(["--username=postgres", "--auth=scram-sha-256", "--encoding=UTF8", "--locale=C.UTF-8"]);
        initdb.arg("--pgdata").arg(&new).arg("--pwfile").arg(&password_file);
        if self.durability == Durability::ThrownAway {
            initdb.arg("--no-sync");
        }
        let output = run_to_end(&mut initdb).await?;
        private_file::remove(&password_file)?;
        ensure!(
            output.status.success(),
            "initdb failed: {}{}",
            String::from_utf8_lossy(&output.stdout),
            String::from_utf8_lossy(&output.stderr)
        );
        fs::rename(&new, self.data()).context("cannot put the new data directory in place")
    }

    /// Ends a server that an earlier stack left on our data, and forgets one that is gone: its pid may belong to anybody by now.
    async fn end_leftover(&self) -> anyhow::Result<()> {
        let pid_file = self.data().join("postmaster.pid");
        let Ok(content) = fs::read_to_string(&pid_file) else { return Ok(()) };
        let pid = content.lines().next().and_then(|line| line.trim().parse().ok()).and_then(Pid::from_raw);
        let deadline = Instant::now() + LEFTOVER_PATIENCE;
        while let Some(pid) = pid.filter(|pid| self.is_ours(*pid)) {
            if Instant::now() > deadline {
                bail!("another PostgreSQL (process {pid}) runs on {}", self.data().display());
            }
            let _ = kill_process(pid, Signal::QUIT);
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
        private_file::remove(&pid_file)
    }

    /// A server's working directory is its data directory.
    fn is_ours(&self, pid: Pid) -> bool {
        test_kill_process(pid).is_ok()
            && fs::read_link(format!("/proc/{pid}/cwd")).is_ok_and(|directory| directory == self.data())
    }
}

impl Daemon for Postgres {
    fn name(&self) -> &'static str {
        "postgres"
    }

    async fn prepare(&self) -> anyhow::Result<()> {
        if self.has_data() { self.end_leftover().await } else { self.initialise().await }
    }

    fn command(&self) -> Command {
        self.port.release();
        // An immediate shutdown: children and shared memory go too, and the log repairs the data at the next start.
        let mut command = self.program("postgres", DeathSignal::Quit);
        command.arg("-D").arg(self.data());
        let port = format!("port={}", self.port.number());
        let mut settings = vec![
            port.as_str(),
            "listen_addresses=127.0.0.1",
            "unix_socket_directories=",
            "logging_collector=off",
            "log_destination=stderr",
            "timezone=UTC",
            // So that anybody can see which statements a request costs.
            "shared_preload_libraries=pg_stat_statements",
        ];
        settings.extend(match self.durability {
            Durability::Kept => ["fsync=on", "max_connections=200"].as_slice(),
            Durability::ThrownAway => {
                &["fsync=off", "synchronous_commit=off", "full_page_writes=off", "max_connections=400"]
            }
        });
        for setting in settings {
            command.args(["-c", setting]);
        }
        command
    }

    async fn ready(&self) -> anyhow::Result<()> {
        let url = self.url("postgres");
        let connect = tokio_postgres::connect(&url, tokio_postgres::NoTls);
        let (client, connection) = tokio::time::timeout(Duration::from_secs(2), connect).await??;
        tokio::select! {
            ended = connection => ended.context("the connection ended")?,
            answer = client.simple_query("SELECT 1") => drop(answer?),
        }
        Ok(())
    }

    fn stop_signal(&self) -> Signal {
        match self.durability {
            Durability::Kept => Signal::INT,
            Durability::ThrownAway => Signal::QUIT,
        }
    }
}

/// The programs that fit the data, or the newest ones where there are no data yet.
fn programs_for(data: &Path) -> anyhow::Result<PathBuf> {
    let installed = packages::postgres_versions();
    let Ok(version) = fs::read_to_string(data.join("PG_VERSION")) else {
        return Ok(installed.last_key_value().context("PostgreSQL is not installed")?.1.clone());
    };
    let version = version.trim();
    version.parse().ok().and_then(|version: u32| installed.get(&version)).cloned().with_context(|| {
        format!(
            "{} was made by PostgreSQL {version}, which is not installed: install postgresql-{version}, or begin anew with `make clean`",
            data.display()
        )
    })
}
