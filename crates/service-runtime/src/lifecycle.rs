use std::{
    collections::BTreeMap,
    fmt,
    future::Future,
    panic::AssertUnwindSafe,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
};

use futures::FutureExt;
use parking_lot::Mutex;
use tokio::time::timeout;
use tokio_util::{sync::CancellationToken, task::TaskTracker};
use tracing::{error, warn};

use crate::{Readiness, ShutdownSettings};

/// Owns everything that runs in the background of a process. Clones are the same lifecycle.
#[derive(Clone)]
pub struct Lifecycle(Arc<Shared>);

struct Shared {
    settings: ShutdownSettings,
    stopping: CancellationToken,
    tasks: TaskTracker,
    /// How many tasks of each name run, to name those that do not end.
    running: Mutex<BTreeMap<&'static str, usize>>,
    readiness: Readiness,
    requested: AtomicBool,
    panicked: AtomicBool,
}

impl Lifecycle {
    /// A lifecycle of its own; tests make one each.
    #[must_use]
    pub fn new(settings: ShutdownSettings) -> Self {
        Self(Arc::new(Shared {
            settings,
            stopping: CancellationToken::new(),
            tasks: TaskTracker::new(),
            running: Mutex::default(),
            readiness: Readiness::new(),
            requested: AtomicBool::new(false),
            panicked: AtomicBool::new(false),
        }))
    }

    /// Cancelled when the process stops accepting work.
    #[must_use]
    pub fn stopping(&self) -> CancellationToken {
        self.0.stopping.clone()
    }

    /// Runs `task` in the background; shutdown waits for it. A panic in it is logged and stops the process with exit code 70.
    /// Must be called inside a tokio runtime.
    pub fn spawn(&self, name: &'static str, task: impl Future<Output = ()> + Send + 'static) {
        let lifecycle = self.clone();
        *self.0.running.lock().entry(name).or_default() += 1;
        self.0.tasks.spawn(async move {
            let outcome = AssertUnwindSafe(task).catch_unwind().await;
            lifecycle.ended(name);
            if outcome.is_err() {
                error!(task = name, "The task {name} panicked, so the process stops");
                lifecycle.0.panicked.store(true, Ordering::Release);
                lifecycle.request_shutdown();
            }
        });
    }

    /// What `/readyz` answers.
    #[must_use]
    pub fn readiness(&self) -> Readiness {
        self.0.readiness.clone()
    }

    /// What SIGTERM does: "stopping" at once, and after the delay [`Lifecycle::stopping`] is cancelled. Must be called inside a tokio runtime.
    pub fn request_shutdown(&self) {
        if self.0.requested.swap(true, Ordering::AcqRel) {
            return;
        }
        self.0.readiness.stop();
        let delay = self.0.settings.delay;
        if delay.is_zero() {
            self.0.stopping.cancel();
            return;
        }
        let stopping = self.stopping();
        self.0.tasks.spawn(async move {
            // `stop_now` may have been faster.
            timeout(delay, stopping.cancelled()).await.ok();
            stopping.cancel();
        });
    }

    /// Stops without the delay, because there is nothing left that could serve.
    pub(crate) fn stop_now(&self) {
        self.0.requested.store(true, Ordering::Release);
        self.0.readiness.stop();
        self.0.stopping.cancel();
    }

    /// Waits for what was spawned, no longer than the drain time; names in the log what did not end.
    pub async fn wait_for_tasks(&self) {
        self.0.tasks.close();
        if timeout(self.0.settings.drain, self.0.tasks.wait()).await.is_err() {
            let running: Vec<&str> = self.0.running.lock().keys().copied().collect();
            let running = running.join(", ");
            warn!(tasks = running, "Gave up waiting for {running}");
        }
    }

    /// Whether a task panicked.
    pub(crate) fn panicked(&self) -> bool {
        self.0.panicked.load(Ordering::Acquire)
    }

    fn ended(&self, name: &'static str) {
        let mut running = self.0.running.lock();
        if let Some(count) = running.get_mut(name) {
            *count -= 1;
            if *count == 0 {
                running.remove(name);
            }
        }
    }
}

impl fmt::Debug for Lifecycle {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Lifecycle").field("running", &*self.0.running.lock()).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use std::time::{Duration, Instant};

    use tokio::sync::oneshot;

    use super::*;
    use crate::ReadinessStatus;

    fn lifecycle(delay: u64, drain: u64) -> Lifecycle {
        let settings =
            ShutdownSettings { delay: Duration::from_millis(delay), drain: Duration::from_millis(drain) };
        Lifecycle::new(settings)
    }

    #[tokio::test]
    async fn it_says_stopping_before_it_stops() {
        let lifecycle = lifecycle(200, 1000);
        lifecycle.readiness().require("always", || Box::pin(async { Ok(()) }));
        let started = Instant::now();
        lifecycle.request_shutdown();
        assert_eq!(lifecycle.readiness().report().await.status, ReadinessStatus::Stopping);
        assert!(!lifecycle.stopping().is_cancelled());
        lifecycle.stopping().cancelled().await;
        assert!(started.elapsed() >= Duration::from_millis(200));
    }

    #[tokio::test]
    async fn the_drain_waits_for_work_that_was_begun() {
        let lifecycle = lifecycle(0, 60_000);
        let (finish, finished) = oneshot::channel::<()>();
        let stopping = lifecycle.stopping();
        let done = Arc::new(AtomicBool::new(false));
        let flag = Arc::clone(&done);
        lifecycle.spawn("work", async move {
            stopping.cancelled().await;
            finished.await.ok();
            flag.store(true, Ordering::Release);
        });
        lifecycle.request_shutdown();
        let wait = lifecycle.wait_for_tasks();
        tokio::pin!(wait);
        assert!(wait.as_mut().now_or_never().is_none());
        finish.send(()).unwrap();
        wait.await;
        assert!(done.load(Ordering::Acquire));
    }

    #[tokio::test]
    async fn the_drain_ends_without_a_task_that_hangs() {
        let lifecycle = lifecycle(0, 20);
        lifecycle.spawn("stuck", std::future::pending());
        lifecycle.request_shutdown();
        lifecycle.wait_for_tasks().await;
        assert!(format!("{lifecycle:?}").contains("stuck"));
    }

    #[tokio::test]
    async fn a_panic_stops_the_process() {
        let lifecycle = lifecycle(0, 1000);
        lifecycle.spawn("buggy", async { panic!("as the test wants it") });
        lifecycle.stopping().cancelled().await;
        lifecycle.wait_for_tasks().await;
        assert!(lifecycle.panicked());
    }
}
