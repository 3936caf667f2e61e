//! Makes sure that the programs of others that we run are installed.

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

/// What programs are needed for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Purpose {
    /// The stack's own servers.
    Servers,
    /// Clients in other languages, which the tests of our documentation run.
    Languages,
}

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

impl Purpose {
    /// Debian's packages of what is missing.
    fn missing(self) -> Vec<&'static str> {
        match self {
            Self::Servers => missing_servers(),
            Self::Languages => missing_languages(),
        }
    }

    /// Where there is no apt-get.
    fn wanted(self) -> &'static str {
        match self {
            Self::Servers => "PostgreSQL 15 or newer, Redis 7 and RabbitMQ",
            Self::Languages => "Python 3.11 or newer with venv, Node.js 18 or newer and npm",
        }
    }

    fn hint(self) -> &'static str {
        match self {
            Self::Servers => {
                "\nThe servers that come with them need not run: the stack starts its own, on ports of its own."
            }
            Self::Languages => "",
        }
    }
}

fn missing_servers() -> Vec<&'static str> {
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

fn missing_languages() -> Vec<&'static str> {
    // The one that would be run: developers have several, and Debian's own comes without what makes environments.
    let works = |program: &str, arguments: &[&str]| {
        let mut command = std::process::Command::new(program);
        let command =
            command.args(arguments).stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
        command.status().is_ok_and(|status| status.success())
    };
    let mut packages = Vec::new();
    if !works("python3", &["-c", "import ensurepip, venv"]) {
        packages.extend(["python3", "python3-venv"]);
    }
    if !works("node", &["--version"]) {
        packages.push("nodejs");
    }
    if !works("npm", &["--version"]) {
        packages.push("npm");
    }
    packages
}

/// Installs what is missing, without starting anything; an error that says what to install where we may not.
pub(crate) async fn ensure_installed(
    purpose: Purpose,
    logs: &Logs,
    progress: &Progress,
    interrupts: &mut Interrupts,
) -> anyhow::Result<()> {
    let missing = purpose.missing();
    if missing.is_empty() {
        return Ok(());
    }
    let packages = missing.join(" ");
    let refuse = |why: &str| {
        NotInstalled(format!(
            "These Debian packages are missing: {packages}\n{why}\n    sudo apt-get install --no-install-recommends {packages}{}",
            purpose.hint()
        ))
    };
    if !Path::new("/usr/bin/apt-get").exists() {
        let wanted = purpose.wanted();
        return Err(refuse(&format!("This is no Debian or Ubuntu. Install {wanted}, there with")).into());
    }
    let Some(mut shell) = root_shell().await else {
        return Err(refuse("Installing them needs root or a sudo without password. Run").into());
    };
    progress.note(&format!("installing {packages} with apt-get, without starting them; a minute or two"));
    let since = Instant::now();
    install(shell.args(&missing), logs, progress, interrupts).await?;
    let still = purpose.missing();
    if !still.is_empty() {
        return Err(NotInstalled(format!(
            "apt-get installed packages, but these are still missing or too old: {}. Needed: {}.",
            still.join(" "),
            purpose.wanted()
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
