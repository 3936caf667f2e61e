use std::{
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
        mpsc,
    },
    time::{Duration, Instant},
};

use parking_lot::Mutex;
use prometheus::{Histogram, HistogramOpts, IntGauge, Registry};
use tokio::sync::{OwnedSemaphorePermit, Semaphore, oneshot};

use super::{
    hash_thread,
    kernel::{Kernel, Workspace},
};

const MAX_QUEUE: usize = 64;
/// Requests that are worked on for each hash at a time: while one hashes, others read and write.
const ADMITTED_PER_PERMIT: usize = 2;
const MAX_WAIT: Duration = Duration::from_millis(500);

/// All places in the queue are taken, or none came free in time.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("password hashing is at capacity")]
pub struct Overloaded;

/// Runs as many hashes at once as there are cores, on threads of their own, keeps few waiting and none waiting long: a login storm must
/// neither exhaust memory nor slow down requests that hash nothing.
#[derive(Clone)]
pub struct HashPool {
    shared: Arc<Shared>,
}

/// What a thread does with its workspace.
pub(super) type Job = Box<dyn FnOnce(&mut Workspace) + Send>;

struct Shared {
    permits: Arc<Semaphore>,
    admissions: Arc<Semaphore>,
    /// Threads without work. There are never more threads than permits, and none before there is work for it.
    idle: Mutex<Vec<mpsc::Sender<Job>>>,
    kernel: Kernel,
    waiting: AtomicUsize,
    queue_depth: IntGauge,
    seconds: Histogram,
}

impl HashPool {
    /// A pool with `permits` workspaces; registers `password_hash_seconds` and `password_hash_queue_depth`.
    pub fn new(kernel: Kernel, permits: usize, registry: &Registry) -> prometheus::Result<Self> {
        let queue_depth =
            IntGauge::new("password_hash_queue_depth", "Password hashes that wait for a core.")?;
        let buckets = vec![0.005, 0.01, 0.02, 0.04, 0.08, 0.16, 0.32, 0.64, 1.28];
        let options = HistogramOpts::new("password_hash_seconds", "Time to compute one password hash.")
            .buckets(buckets);
        let seconds = Histogram::with_opts(options)?;
        registry.register(Box::new(queue_depth.clone()))?;
        registry.register(Box::new(seconds.clone()))?;
        let shared = Shared {
            permits: Arc::new(Semaphore::new(permits.max(1))),
            admissions: Arc::new(Semaphore::new(permits.max(1) * ADMITTED_PER_PERMIT)),
            idle: Mutex::new(Vec::new()),
            kernel,
            waiting: AtomicUsize::new(0),
            queue_depth,
            seconds,
        };
        Ok(Self { shared: Arc::new(shared) })
    }

    /// Runs `work` with a workspace. Fails at once when the queue is full, and when no thread comes free within half a second.
    pub(super) async fn run<T: Send + 'static>(
        &self,
        work: impl FnOnce(&mut Workspace) -> T + Send + 'static,
    ) -> Result<T, Overloaded> {
        let permit = self.acquire().await?;
        self.run_with(permit, work).await
    }

    /// Runs `work` as [`HashPool::run`] does, but only if no other work waits and a thread is free now.
    pub(super) async fn run_if_idle<T: Send + 'static>(
        &self,
        work: impl FnOnce(&mut Workspace) -> T + Send + 'static,
    ) -> Result<T, Overloaded> {
        let permit = Arc::clone(&self.shared.permits).try_acquire_owned().map_err(|_| Overloaded)?;
        self.run_with(permit, work).await
    }

    async fn run_with<T: Send + 'static>(
        &self,
        permit: OwnedSemaphorePermit,
        work: impl FnOnce(&mut Workspace) -> T + Send + 'static,
    ) -> Result<T, Overloaded> {
        let shared = Arc::clone(&self.shared);
        let idle = shared.idle.lock().pop();
        let thread = idle.map_or_else(|| hash_thread::spawn(shared.kernel), Ok).map_err(|_| Overloaded)?;
        let (answer, outcome) = oneshot::channel();
        let same_thread = thread.clone();
        let job: Job = Box::new(move |workspace| {
            let started = Instant::now();
            let outcome = work(workspace);
            shared.seconds.observe(started.elapsed().as_secs_f64());
            shared.idle.lock().push(same_thread);
            // Held until here, not until the caller goes away: a client that hangs up must not make room for one more hash at once.
            drop(permit);
            // Without a caller nobody wants the outcome.
            answer.send(outcome).ok();
        });
        thread.send(job).map_err(|_| Overloaded)?;
        outcome.await.map_err(|_| Overloaded)
    }

    #[cfg(test)]
    pub(super) fn hashes(&self) -> u64 {
        self.shared.seconds.get_sample_count()
    }

    /// Lets a request begin that will hash, before other work is spent on it: what a storm is refused must cost next to nothing.
    pub(super) async fn admit(&self) -> Result<Admission, Overloaded> {
        self.wait_for(&self.shared.admissions).await.map(|permit| Admission { _permit: permit })
    }

    async fn acquire(&self) -> Result<OwnedSemaphorePermit, Overloaded> {
        self.wait_for(&self.shared.permits).await
    }

    async fn wait_for(&self, permits: &Arc<Semaphore>) -> Result<OwnedSemaphorePermit, Overloaded> {
        if let Ok(permit) = Arc::clone(permits).try_acquire_owned() {
            return Ok(permit);
        }
        let _place = QueuePlace::take(&self.shared)?;
        let waited = tokio::time::timeout(MAX_WAIT, Arc::clone(permits).acquire_owned()).await;
        waited.map_err(|_| Overloaded)?.map_err(|_| Overloaded)
    }
}

/// The right of a request to be worked on; given back when dropped.
pub struct Admission {
    _permit: OwnedSemaphorePermit,
}

/// A place in the queue, given back even when the caller goes away.
struct QueuePlace<'a>(&'a Shared);

impl<'a> QueuePlace<'a> {
    fn take(shared: &'a Shared) -> Result<Self, Overloaded> {
        let took = shared.waiting.fetch_update(Ordering::AcqRel, Ordering::Acquire, |waiting| {
            (waiting < MAX_QUEUE).then_some(waiting + 1)
        });
        took.map_err(|_| Overloaded)?;
        shared.queue_depth.inc();
        Ok(Self(shared))
    }
}

impl Drop for QueuePlace<'_> {
    fn drop(&mut self) {
        self.0.waiting.fetch_sub(1, Ordering::AcqRel);
        self.0.queue_depth.dec();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_full_queue_is_refused_at_once_and_a_long_wait_after_half_a_second() {
        let pool = HashPool::new(Kernel::Reference, 1, &Registry::new()).unwrap();
        let (release, held) = mpsc::channel::<()>();
        let holder = pool.run(move |_| held.recv().is_err());
        let crowd = futures::future::join_all((0..MAX_QUEUE + 10).map(|_| pool.run(|_| ())));
        let started = Instant::now();
        let (held, outcomes) = tokio::join!(holder, async {
            let outcomes = crowd.await;
            drop(release);
            outcomes
        });
        assert_eq!(held, Ok(true));
        assert!(outcomes.iter().all(|outcome| *outcome == Err(Overloaded)));
        assert!(started.elapsed() >= MAX_WAIT);
        assert_eq!(pool.run(|_| 7).await, Ok(7));
        assert_eq!(pool.shared.seconds.get_sample_count(), 2);
        assert_eq!(pool.shared.queue_depth.get(), 0);
    }

    #[tokio::test]
    async fn a_caller_that_goes_away_makes_no_room_before_its_hash_is_done() {
        let pool = HashPool::new(Kernel::Reference, 1, &Registry::new()).unwrap();
        let (release, held) = mpsc::channel::<()>();
        let (started, begun) = tokio::sync::oneshot::channel();
        let abandoned = pool.run(move |_| {
            started.send(()).unwrap();
            held.recv().unwrap_err()
        });
        tokio::select! {
            _ = abandoned => panic!("the hash cannot be done yet"),
            begun = begun => begun.unwrap(),
        }
        assert_eq!(pool.run(|_| ()).await, Err(Overloaded));
        drop(release);
        assert_eq!(pool.run(|_| 7).await, Ok(7));
    }

    #[tokio::test]
    async fn a_thread_that_panics_is_replaced() {
        let pool = HashPool::new(Kernel::Reference, 1, &Registry::new()).unwrap();
        assert_eq!(pool.run(|_| -> u8 { panic!("out of memory") }).await, Err(Overloaded));
        assert_eq!(pool.run(|_| 7).await, Ok(7));
    }

    #[tokio::test]
    async fn work_that_can_wait_for_another_day_does_not_wait_for_a_thread() {
        let pool = HashPool::new(Kernel::Reference, 1, &Registry::new()).unwrap();
        let (release, held) = mpsc::channel::<()>();
        let holder = pool.run(move |_| held.recv().is_err());
        let (held, refused) = tokio::join!(holder, async {
            let started = Instant::now();
            let refused = pool.run_if_idle(|_| ()).await;
            drop(release);
            (refused, started.elapsed())
        });
        assert!(held.unwrap());
        assert_eq!(refused.0, Err(Overloaded));
        assert!(refused.1 < MAX_WAIT);
        assert_eq!(pool.run_if_idle(|_| 7).await, Ok(7));
    }
}
