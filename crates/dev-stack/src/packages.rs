//! Makes sure that the servers' programs are installed.

use std::{
    collections::BTreeMap,
    fs,
    path::{Path, PathBuf},
    process::Stdio,
    time::Instant,
};

use anyhow::{Context, ensure};
use rustix::process::{Pid, Signal, kill_process};
use tokio::process::Command;

use crate::{interrupt::Interrupts, logs::Logs, progress::Progress};

const OLDEST_POSTGRES: u32 = 15;
const LOG: &str = "packages";
const INSTALL: &str = include_str!("packages/install.sh");

/// Packages that are missing and that we may not install.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
pub(crate) struct NotInstalled(String);

/// The directories of the installed PostgreSQL programs that are new enough, by major version.
pub(crate) fn postgres_versions() -> BTreeMap<u32, PathBuf> {
    let versions = fs::read_dir("/usr/lib/postgresql").into_iter().flatten().flatten().filter_map(|entry| {
        let version = entry.file_name().to_str()?.parse().ok()?;
        let programs = entry.path().join("bin");
        (version >= OLDEST_POSTGRES && programs.join("initdb").exists() && programs.join("postgres").exists())
            .then_some((version, programs))
    });
    versions.collect()
}

/// Debian's packages of what is missing.
fn missing() -> Vec<&'static str> {
    let anywhere = |name: &str| {
        ["/usr/bin", "/usr/sbin", "/bin", "/usr/local/bin"]
            .iter()
            .any(|bin| Path::new(bin).join(name).exists())
    };
    let mut packages = Vec::new();
    if postgres_versions().is_empty() {
        packages.push("postgresql");
    }
    if !anywhere("redis-server") {
        packages.push("redis-server");
    }
    if !Path::new("/usr/lib/rabbitmq/bin/rabbitmq-server").exists() || !anywhere("epmd") {
        packages.push("rabbitmq-server");
    }
    if !anywhere("setpriv") {
        packages.push("util-linux");
    }
    packages
}

/// Installs what is missing, without starting anything; an error that says what to install where we may not.
pub(crate) async fn ensure_installed(
    logs: &Logs,
    progress: &Progress,
    interrupts: &mut Interrupts,
) -> anyhow::Result<()> {
    let missing = missing();
    if missing.is_empty() {
        return Ok(());
    }
    let packages = missing.join(" ");
    let refuse = |why: &str| {
        NotInstalled(format!(
            "These Debian packages are missing: {packages}\n{why}\n    sudo apt-get install --no-install-recommends {packages}\n\
             The servers that come with them need not run: the stack starts its own, on ports of its own."
        ))
    };
    if !Path::new("/usr/bin/apt-get").exists() {
        return Err(refuse(
            "This is no Debian or Ubuntu. Install PostgreSQL 15 or newer, Redis 7 and RabbitMQ, there with",
        )
        .into());
    }
    let Some(mut shell) = root_shell().await else {
        return Err(refuse("Installing them needs root or a sudo without password. Run").into());
    };
    progress.note(&format!("installing {packages} with apt-get, without starting them; a minute or two"));
    let since = Instant::now();
    install(shell.args(&missing), logs, progress, interrupts).await?;
    let still = self::missing();
    if !still.is_empty() {
        return Err(NotInstalled(format!(
            "apt-get installed packages, but these are still missing or too old: {}. PostgreSQL has to be {OLDEST_POSTGRES} or newer.",
            still.join(" ")
        ))
        .into());
    }
    progress.step(since, &format!("installed {packages}"));
    Ok(())
}

/// A shell that runs the installation with root's rights, if we may.
async fn root_shell() -> Option<Command> {
    let mut command = if rustix::process::geteuid().is_root() {
        Command::new("sh")
    } else {
        let mut allowed = Command::new("sudo");
        let allowed = allowed.args(["-n", "true"]).stderr(Stdio::null()).status().await;
        if !allowed.is_ok_and(|status| status.success()) {
            return None;
        }
        let mut command = Command::new("sudo");
        command.args(["-n", "sh"]);
        command
    };
    command.args(["-c", INSTALL, "install"]);
    Some(command)
}

async fn install(
    shell: &mut Command,
    logs: &Logs,
    progress: &Progress,
    interrupts: &mut Interrupts,
) -> anyhow::Result<()> {
    let log = logs.begin(LOG)?;
    // Neither a Ctrl-C nor our end may cut dpkg off: that would leave packages half installed.
    shell.stdin(Stdio::null()).stdout(log.file()?).stderr(log.file()?).process_group(0);
    let mut child = shell.spawn().context("cannot start the installation")?;
    let mut interrupted = false;
    let status = loop {
        tokio::select! {
            status = child.wait() => break status?,
            _ = interrupts.next() => {
                interrupted = true;
                progress.note("stopping as soon as apt-get can be stopped without damage");
                if let Some(pid) = child.id().and_then(|pid| Pid::from_raw(i32::try_from(pid).ok()?)) {
                    let _ = kill_process(pid, Signal::TERM);
                }
            }
        }
    };
    ensure!(!interrupted, "interrupted during the installation of packages");
    ensure!(status.success(), "the installation of packages failed: {status}\n{}", logs.tail(LOG));
    Ok(())
}
