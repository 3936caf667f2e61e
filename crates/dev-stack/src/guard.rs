//! Child processes that cannot outlive us, not even a `kill -9`.

use std::{
    ffi::OsStr,
    path::Path,
    process::{ExitStatus, Output, Stdio},
    time::Duration,
};

use anyhow::{Context, bail};
use rustix::process::{Pid, Signal, kill_process, kill_process_group};
use tokio::{io::AsyncReadExt, process::Command};

/// Our pid is `$0`. If we died before `setpriv` had asked for the death signal, the parent is somebody else by now.
const ONLY_WITH_ITS_PARENT: &str = r#"[ "$PPID" = "$0" ] || exit 75; exec "$@""#;

/// What a child receives when we die.
#[derive(Debug, Clone, Copy)]
pub(crate) enum DeathSignal {
    Kill,
    /// For PostgreSQL: end at once, with all children.
    Quit,
}

impl DeathSignal {
    fn name(self) -> &'static str {
        match self {
            Self::Kill => "KILL",
            Self::Quit => "QUIT",
        }
    }
}

/// Dies with us and takes its process group along.
const KILLS_ITS_GROUP: &str = "trap '' INT TERM HUP; trap 'kill -KILL 0' USR1; sleep infinity & wait";

/// Who a child runs as.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Account {
    /// The user who started us.
    Ours,
    /// The user `postgres`, because PostgreSQL refuses to run as root.
    Postgres,
    /// The same where that user may not enter a directory above the data, such as root's home: it may look past permissions.
    PostgresPastPermissions,
}

impl Account {
    /// Who PostgreSQL runs as with its data below `directory`, which exists and is that user's then.
    pub(crate) async fn for_postgres(directory: &Path) -> anyhow::Result<Self> {
        if !rustix::process::geteuid().is_root() {
            return Ok(Self::Ours);
        }
        let owned = Command::new("chown").arg("postgres:postgres").arg(directory).status().await?;
        anyhow::ensure!(owned.success(), "cannot give {} to the user postgres", directory.display());
        let mut writable = Self::Postgres.command("test");
        let writable = writable.arg("-w").arg(directory).status().await?;
        Ok(if writable.success() { Self::Postgres } else { Self::PostgresPastPermissions })
    }

    fn command(self, program: impl AsRef<OsStr>) -> Command {
        let mut command = match self {
            Self::Ours => return Command::new(program),
            Self::Postgres | Self::PostgresPastPermissions => Command::new("setpriv"),
        };
        command.args(["--reuid=postgres", "--regid=postgres", "--init-groups"]);
        if self == Self::PostgresPastPermissions {
            command.args(["--inh-caps=+dac_override", "--ambient-caps=+dac_override"]);
        }
        command.arg(program);
        command
    }
}

/// A command that receives `death_signal` when we die.
///
/// The kernel counts the thread that starts it as "us": start it from one that lives as long as the process.
pub(crate) fn guarded(account: Account, program: &Path, death_signal: DeathSignal) -> Command {
    // In this order: changing the user clears the death signal.
    let mut command = account.command("setpriv");
    command
        .args(["--pdeathsig", death_signal.name(), "sh", "-c", ONLY_WITH_ITS_PARENT])
        .arg(std::process::id().to_string())
        .arg(program)
        .stdin(Stdio::null());
    command
}

/// Runs a command to its end. Dropped, it is killed with its children.
pub(crate) async fn run_to_end(command: &mut Command) -> anyhow::Result<Output> {
    let mut child = Child::spawn_group(command.stdout(Stdio::piped()).stderr(Stdio::piped()))?;
    let (mut stdout, mut stderr) = (Vec::new(), Vec::new());
    let outputs = (child.process.stdout.take(), child.process.stderr.take());
    let (Some(mut out), Some(mut err)) = outputs else { bail!("the child has no output") };
    let (_, _, status) =
        tokio::try_join!(out.read_to_end(&mut stdout), err.read_to_end(&mut stderr), child.process.wait())?;
    Ok(Output { status, stdout, stderr })
}

/// A running child. Dropped, it is killed.
#[derive(Debug)]
pub(crate) struct Child {
    process: tokio::process::Child,
    /// Whether it leads a process group, which is then killed as a whole.
    leads_group: bool,
}

impl Child {
    /// Starts a command in our process group.
    pub(crate) fn spawn(command: &mut Command) -> anyhow::Result<Self> {
        let program = command.as_std().get_program().to_owned();
        let process = command.spawn().with_context(|| format!("cannot start {}", program.display()))?;
        Ok(Self { process, leads_group: false })
    }

    /// Starts a command in a process group of its own.
    pub(crate) fn spawn_group(command: &mut Command) -> anyhow::Result<Self> {
        let mut child = Self::spawn(command.process_group(0))?;
        child.leads_group = true;
        Ok(child)
    }

    /// Binds the group that the child leads to the result.
    pub(crate) fn bind_group(&self) -> anyhow::Result<BoundGroup> {
        let group = self.pid().context("the child ended already")?;
        let mut watcher = Command::new("setpriv");
        watcher.args(["--pdeathsig", "USR1", "sh", "-c", KILLS_ITS_GROUP]);
        watcher.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
        let watcher = Self::spawn(watcher.process_group(group.as_raw_nonzero().get()))?;
        Ok(BoundGroup { group, _watcher: watcher })
    }

    /// The pid, until it was waited for.
    pub(crate) fn pid(&self) -> Option<Pid> {
        Pid::from_raw(i32::try_from(self.process.id()?).ok()?)
    }

    pub(crate) async fn exited(&mut self) -> anyhow::Result<ExitStatus> {
        Ok(self.process.wait().await?)
    }

    /// Asks it to end, and kills it when it has not after `patience`.
    pub(crate) async fn stop(mut self, signal: Signal, patience: Duration) {
        if let Some(pid) = self.pid() {
            let _ = kill_process(pid, signal);
        }
        if tokio::time::timeout(patience, self.process.wait()).await.is_err() {
            self.signal(Signal::KILL);
            let _ = self.process.wait().await;
        }
    }

    /// Tells it, and its group when it leads one. It may have ended by itself, then there is nobody to tell.
    pub(crate) fn signal(&self, signal: Signal) {
        let Some(pid) = self.pid() else { return };
        let _ = if self.leads_group { kill_process_group(pid, signal) } else { kill_process(pid, signal) };
    }
}

/// A process group whose members all end with this value, and with us: what the leader started knows nothing of us and would stay behind.
#[derive(Debug)]
pub(crate) struct BoundGroup {
    group: Pid,
    /// A member of the group, which therefore exists.
    _watcher: Child,
}

impl Drop for BoundGroup {
    fn drop(&mut self) {
        let _ = kill_process_group(self.group, Signal::KILL);
    }
}

impl Drop for Child {
    fn drop(&mut self) {
        self.signal(Signal::KILL);
    }
}
