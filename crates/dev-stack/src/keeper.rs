//! Keeps daemons running until they are told to stop.

use std::{
    os::fd::OwnedFd,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::{Duration, Instant},
};

use anyhow::{Context, bail};
use tokio::sync::watch;
use tokio_util::{sync::CancellationToken, task::TaskTracker};

use crate::{
    daemon::Daemon,
    guard::Child,
    logs::{Log, Logs},
    progress::Progress,
};

const FIRST_PAUSE: Duration = Duration::from_millis(200);
const LONGEST_PAUSE: Duration = Duration::from_secs(5);
/// Whatever ran this long starts again without a longer pause.
const STABLE: Duration = Duration::from_secs(3);
const PROBE_EVERY: Duration = Duration::from_millis(50);

/// Daemons that stop together.
#[derive(Debug)]
pub(crate) struct Group {
    progress: Progress,
    logs: Logs,
    restart: bool,
    stopping: CancellationToken,
    tasks: TaskTracker,
}

/// A daemon that is being kept running.
pub(crate) struct Kept<D> {
    daemon: Arc<D>,
    logs: Logs,
    was_ready: Arc<AtomicBool>,
    /// How it ended, when it did; it may run again since.
    ended: watch::Receiver<Option<String>>,
}

impl Group {
    pub(crate) fn new(progress: Progress, logs: Logs, restart: bool) -> Self {
        Self { progress, logs, restart, stopping: CancellationToken::new(), tasks: TaskTracker::new() }
    }

    /// Starts a daemon, and starts it again when it dies after it was ready once.
    pub(crate) fn keep<D: Daemon>(&self, daemon: D) -> anyhow::Result<Kept<D>> {
        let daemon = Arc::new(daemon);
        let (ended, receiver) = watch::channel(None);
        let was_ready = Arc::new(AtomicBool::new(false));
        let keeper = Keeper {
            daemon: daemon.clone(),
            log: self.logs.begin(daemon.name())?,
            progress: self.progress,
            tasks: self.tasks.clone(),
            was_ready: was_ready.clone(),
            ended,
        };
        self.tasks.spawn(keeper.run(self.restart, self.stopping.clone()));
        Ok(Kept { daemon, logs: self.logs.clone(), was_ready, ended: receiver })
    }

    /// Stops all of them at once and waits until they are gone.
    pub(crate) async fn stop(&self) {
        self.stopping.cancel();
        self.tasks.close();
        self.tasks.wait().await;
    }
}

impl<D: Daemon> Kept<D> {
    pub(crate) fn daemon(&self) -> &D {
        &self.daemon
    }

    /// Waits until the daemon is ready; an error when it ends instead.
    pub(crate) async fn ready(&self, patience: Duration) -> anyhow::Result<()> {
        let deadline = Instant::now() + patience;
        let name = self.daemon.name();
        loop {
            if let Some(how) = self.ended.borrow().as_deref() {
                bail!("{name} ended: {how}\n{}", self.logs.tail(name));
            }
            match self.daemon.ready().await {
                Ok(()) => {
                    self.was_ready.store(true, Ordering::Relaxed);
                    return Ok(());
                }
                Err(error) if Instant::now() > deadline => {
                    return Err(error).with_context(|| {
                        format!("{name} is not ready after {patience:?}\n{}", self.logs.tail(name))
                    });
                }
                Err(_) => tokio::time::sleep(PROBE_EVERY).await,
            }
        }
    }
}

struct Keeper<D> {
    daemon: Arc<D>,
    log: Log,
    progress: Progress,
    tasks: TaskTracker,
    was_ready: Arc<AtomicBool>,
    ended: watch::Sender<Option<String>>,
}

impl<D: Daemon> Keeper<D> {
    async fn run(self, restart: bool, stopping: CancellationToken) {
        let mut pause = FIRST_PAUSE;
        while !stopping.is_cancelled() {
            let began = Instant::now();
            let Some(launched) = stopping.run_until_cancelled(self.launch()).await else { return };
            let how = match launched {
                Err(error) => format!("{error:#}"),
                Ok(mut child) => tokio::select! {
                    () = stopping.cancelled() => {
                        child.stop(self.daemon.stop_signal(), self.daemon.stop_patience()).await;
                        return;
                    }
                    exited = child.exited() => exited.map_or_else(|error| error.to_string(), |status| status.to_string()),
                },
            };
            let name = self.daemon.name();
            self.ended.send_replace(Some(how.clone()));
            if !self.was_ready.load(Ordering::Relaxed) {
                // Whoever waits for it tells.
                return;
            }
            if !restart {
                self.progress.note(&format!("{name} ended ({how}): {}", self.log.path().display()));
                return;
            }
            pause = if began.elapsed() > STABLE { FIRST_PAUSE } else { (pause * 2).min(LONGEST_PAUSE) };
            self.progress
                .note(&format!("{name} ended ({how}); it starts again in {:.1} s", pause.as_secs_f32()));
            stopping.run_until_cancelled(tokio::time::sleep(pause)).await;
        }
    }

    async fn launch(&self) -> anyhow::Result<Child> {
        self.daemon.prepare().await?;
        let mut command = self.daemon.command();
        let reader = if self.daemon.shows_warnings() {
            let (reader, writer) = std::io::pipe()?;
            command.stdout(writer.try_clone()?).stderr(writer);
            Some(tokio::net::unix::pipe::Receiver::from_owned_fd(OwnedFd::from(reader))?)
        } else {
            command.stdout(self.log.file()?).stderr(self.log.file()?);
            None
        };
        // A process group of its own: the terminal's Ctrl-C is for us, and we stop things in their order.
        let child = Child::spawn_group(&mut command)?;
        if let Some(reader) = reader {
            self.tasks.spawn(self.log.clone().copy(reader, self.daemon.name(), self.progress));
        }
        if let Some(pid) = child.pid() {
            self.daemon.started(pid.as_raw_nonzero().get().unsigned_abs());
        }
        Ok(child)
    }
}
