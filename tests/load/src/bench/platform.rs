//! The whole platform, started for a benchmark and stopped with it.

use std::{
    collections::BTreeMap,
    ffi::OsString,
    fs,
    os::unix::{ffi::OsStringExt, fs::PermissionsExt},
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    time::{Duration, Instant},
};

use anyhow::{Context, bail};
use rustix::process::{Pid, Signal, kill_process};
use tempfile::TempDir;
use tokio_postgres::{NoTls, SimpleQueryMessage};

use crate::client::Identity;

const START_PATIENCE: Duration = Duration::from_mins(3);

/// Enough users that none of them logs in often.
pub const USERS: u32 = 2_000;

/// A running development stack of this build's programs; stopped when dropped.
pub struct Platform {
    process: Child,
    directory: TempDir,
    programs: PathBuf,
}

impl Platform {
    /// Starts a stack with fresh data and waits until it is ready.
    pub async fn start() -> anyhow::Result<Self> {
        let programs = own_directory()?;
        let directory = scratch_directory(&programs)?;
        fs::write(directory.path().join("Cargo.toml"), "[workspace]\n")?;
        let output = fs::File::create(directory.path().join("output"))?;
        let mut command = Command::new(programs.join("dev-stack"));
        command.arg("run").current_dir(directory.path());
        // The stack's own servers, whatever else this shell knows.
        for variable in ["DATABASE_URL", "REDIS_URL", "AMQP_URL"] {
            command.env_remove(variable);
        }
        command.env("SEED_USERS", USERS.to_string()).env("RATE_LIMITS", "off").env("CAPTCHA", "off");
        command.stdin(Stdio::null()).stdout(output.try_clone()?).stderr(output);
        let process = command.spawn().context("the stack cannot be started: use `make bench`")?;
        let mut platform = Self { process, directory, programs };
        platform.wait_until_ready().await?;
        Ok(platform)
    }

    async fn wait_until_ready(&mut self) -> anyhow::Result<()> {
        let deadline = Instant::now() + START_PATIENCE;
        while !self.state().join("stack.env").exists() {
            if self.process.try_wait()?.is_some() || Instant::now() > deadline {
                let output = fs::read_to_string(self.directory.path().join("output")).unwrap_or_default();
                bail!("the stack did not start:\n{output}");
            }
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
        Ok(())
    }

    fn state(&self) -> PathBuf {
        self.directory.path().join(".dev")
    }

    /// The program of a service, or of anything else in this build.
    #[must_use]
    pub fn program(&self, name: &str) -> PathBuf {
        self.programs.join(name)
    }

    /// One variable of `stack.env`, as it is now.
    pub fn variable(&self, name: &str) -> anyhow::Result<String> {
        let text = fs::read_to_string(self.state().join("stack.env")).context("the stack has ended")?;
        parse_variables(&text).remove(name).with_context(|| format!("the stack has no {name}"))
    }

    /// The certificate of one of the stack's identities.
    pub fn identity(&self, name: &str) -> anyhow::Result<Identity> {
        let ca = PathBuf::from(self.variable("TLS_CA")?);
        let directory = ca.parent().context("TLS_CA is in no directory")?;
        let file = |extension| Some(directory.join(format!("{name}.{extension}")));
        Ok(Identity { cert: file("pem"), key: file("key"), ca: Some(ca) })
    }

    /// The environment that a service was started with, by its pid's variable.
    pub fn environment_of(&self, pid_variable: &str) -> anyhow::Result<BTreeMap<OsString, OsString>> {
        let bytes = fs::read(format!("/proc/{}/environ", self.variable(pid_variable)?))?;
        Ok(parse_environment(&bytes))
    }

    /// Runs a query as superuser; the first column of each row, as text.
    pub async fn sql(&self, query: &str) -> anyhow::Result<Vec<String>> {
        let (client, connection) = tokio_postgres::connect(&self.variable("DATABASE_URL")?, NoTls).await?;
        let run = async move {
            let messages = client.simple_query(query).await;
            drop(client);
            messages
        };
        let (messages, _) = tokio::join!(run, connection);
        let first = |message| match message {
            SimpleQueryMessage::Row(row) => Some(row.get(0).unwrap_or_default().to_owned()),
            _ => None,
        };
        Ok(messages?.into_iter().filter_map(first).collect())
    }
}

impl Drop for Platform {
    fn drop(&mut self) {
        let pid = i32::try_from(self.process.id()).ok().and_then(Pid::from_raw);
        if let Some(pid) = pid {
            kill_process(pid, Signal::TERM).ok();
        }
        // Until it has ended, its servers may write below the directory that is about to go.
        self.process.wait().ok();
    }
}

fn parse_variables(text: &str) -> BTreeMap<String, String> {
    let pairs = text.lines().filter_map(|line| line.split_once('='));
    pairs.map(|(name, value)| (name.to_owned(), value.trim_matches('\'').to_owned())).collect()
}

/// As the kernel shows it: `name=value`, each ended by a zero.
fn parse_environment(bytes: &[u8]) -> BTreeMap<OsString, OsString> {
    let pairs = bytes.split(|byte| *byte == 0).filter_map(|entry| {
        let equals = entry.iter().position(|byte| *byte == b'=')?;
        let (name, value) = (entry.get(..equals)?, entry.get(equals + 1..)?);
        Some((OsString::from_vec(name.to_vec()), OsString::from_vec(value.to_vec())))
    });
    pairs.collect()
}

/// Where this program is, and with it those of the services.
pub fn own_directory() -> anyhow::Result<PathBuf> {
    let program = std::env::current_exe()?;
    program.parent().map(Path::to_owned).context("our program is in no directory")
}

/// Below the build, and open to the user that PostgreSQL runs as.
fn scratch_directory(parent: &Path) -> anyhow::Result<TempDir> {
    let mut builder = tempfile::Builder::new();
    let builder = builder.prefix("bench-").permissions(fs::Permissions::from_mode(0o755));
    builder.tempdir_in(parent).context("cannot make a directory for the stack")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn environments_are_read() {
        let environment = parse_environment(b"A=1\0B=x=y\0C=\0D\0");
        let pairs: Vec<_> =
            environment.iter().filter_map(|(name, value)| name.to_str().zip(value.to_str())).collect();
        assert_eq!(pairs, [("A", "1"), ("B", "x=y"), ("C", "")]);
    }

    #[test]
    fn variables_lose_their_quotes() {
        let variables = parse_variables("API_URL=http://127.0.0.1:1/x\nADMIN_PASSWORD='a=b c'\n\n");
        assert_eq!(variables.get("API_URL").map(String::as_str), Some("http://127.0.0.1:1/x"));
        assert_eq!(variables.get("ADMIN_PASSWORD").map(String::as_str), Some("a=b c"));
    }
}
