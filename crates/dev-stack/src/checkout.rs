//! The checkout that a stack belongs to.

use std::{
    fs::{File, OpenOptions, TryLockError},
    io::{Read, Seek, Write},
    path::{Path, PathBuf},
    time::Duration,
};

use anyhow::{Context, bail};
use rustix::process::{Pid, Signal, kill_process};

/// The workspace's root directory.
#[derive(Debug, Clone)]
pub(crate) struct Checkout(PathBuf);

/// The right to run this checkout's stack, until dropped or until the process ends.
#[derive(Debug)]
pub(crate) struct StackLock {
    _file: File,
}

impl Checkout {
    /// The nearest workspace at or above the current directory.
    pub(crate) fn find() -> anyhow::Result<Self> {
        let current = std::env::current_dir()?;
        let is_root = |directory: &&Path| {
            std::fs::read_to_string(directory.join("Cargo.toml"))
                .is_ok_and(|manifest| manifest.contains("[workspace]"))
        };
        let root = current.ancestors().find(is_root);
        Ok(Self(root.context("run this inside the checkout: there is no workspace here")?.to_owned()))
    }

    /// Where the stack keeps everything: `.dev`.
    pub(crate) fn state(&self) -> PathBuf {
        self.0.join(".dev")
    }

    /// Refuses while another stack of this checkout runs.
    pub(crate) fn lock(&self) -> anyhow::Result<StackLock> {
        std::fs::create_dir_all(self.state()).context("cannot make .dev")?;
        let mut file = self.lock_file()?;
        match file.try_lock() {
            Ok(()) => {
                file.set_len(0)?;
                write!(file, "{}", std::process::id())?;
                Ok(StackLock { _file: file })
            }
            Err(TryLockError::WouldBlock) => bail!(
                "A stack of this checkout runs already (process {}). Stop it with `make stop`.",
                holder(&mut file).map_or_else(|| "unknown".to_owned(), |pid| pid.to_string())
            ),
            Err(TryLockError::Error(error)) => Err(error).context("cannot lock .dev/lock"),
        }
    }

    /// Asks the stack of this checkout to stop and waits until it has; whether one ran.
    pub(crate) async fn stop_stack(&self) -> anyhow::Result<bool> {
        if !self.state().exists() {
            return Ok(false);
        }
        let mut file = self.lock_file()?;
        if file.try_lock().is_ok() {
            return Ok(false);
        }
        let pid =
            holder(&mut file).and_then(Pid::from_raw).context("the stack is just starting: try again")?;
        kill_process(pid, Signal::TERM).with_context(|| format!("cannot stop process {pid}"))?;
        while file.try_lock().is_err() {
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
        Ok(true)
    }

    fn lock_file(&self) -> anyhow::Result<File> {
        let path = self.state().join("lock");
        let open = OpenOptions::new().read(true).write(true).create(true).truncate(false).open(&path);
        open.with_context(|| format!("cannot open {}", path.display()))
    }
}

fn holder(file: &mut File) -> Option<i32> {
    let mut pid = String::new();
    file.rewind().ok()?;
    file.read_to_string(&mut pid).ok()?;
    pid.trim().parse().ok()
}

/// Where our own program and the services' are: the build's output directory.
pub(crate) fn programs() -> anyhow::Result<PathBuf> {
    let program = std::env::current_exe()?;
    Ok(program.parent().context("our program is in no directory")?.to_owned())
}
