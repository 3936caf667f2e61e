use std::{
    fmt,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use futures::future::{BoxFuture, join_all};
use parking_lot::RwLock;
use serde::Serialize;
use tokio::{
    sync::Mutex,
    time::{Instant, sleep, timeout},
};
use tracing::{Dispatch, instrument::WithSubscriber};

/// How long one check may take.
const CHECK_TIMEOUT: Duration = Duration::from_millis(500);
/// How long what the checks answered is told to others: whoever reaches a port may ask, and each check may be a query.
const REMEMBERED: Duration = Duration::from_secs(1);
/// The same while a required check fails, because what starts should be used soon.
const UNMET_REMEMBERED: Duration = Duration::from_millis(50);
/// How often [`Readiness::wait_until_ready`] asks.
const POLL: Duration = Duration::from_millis(50);

/// What `/readyz` answers. Clones are the same readiness. Until the first check is registered it is not ready.
#[derive(Clone)]
pub struct Readiness(Arc<Shared>);

struct Shared {
    checks: RwLock<Vec<Check>>,
    /// What the checks answered last; held while they are asked, so that others wait for the same answer.
    last: Mutex<Option<Answer>>,
    stopping: AtomicBool,
}

/// What the checks answered, and when.
struct Answer {
    checks: Vec<CheckReport>,
    at: Instant,
}

#[derive(Clone)]
struct Check {
    name: &'static str,
    required: bool,
    ask: Arc<dyn Fn() -> BoxFuture<'static, Result<(), String>> + Send + Sync>,
}

impl Readiness {
    pub(crate) fn new() -> Self {
        Self(Arc::new(Shared {
            checks: RwLock::default(),
            last: Mutex::default(),
            stopping: AtomicBool::new(false),
        }))
    }

    /// Adds a check that must succeed for the process to be ready. It is asked for at most 500 ms, together with the others.
    pub fn require(
        &self,
        name: &'static str,
        check: impl Fn() -> BoxFuture<'static, Result<(), String>> + Send + Sync + 'static,
    ) {
        self.0.checks.write().push(Check { name, required: true, ask: Arc::new(check) });
    }

    /// Adds a check that is shown only.
    pub fn observe(
        &self,
        name: &'static str,
        check: impl Fn() -> BoxFuture<'static, Result<(), String>> + Send + Sync + 'static,
    ) {
        self.0.checks.write().push(Check { name, required: false, ask: Arc::new(check) });
    }

    /// What every check says; while the process is ready, up to a second ago. That it stops is said at once.
    pub async fn report(&self) -> ReadinessReport {
        let checks = self.ask().await;
        let status = if self.0.stopping.load(Ordering::Acquire) {
            ReadinessStatus::Stopping
        } else if is_unmet(&checks) {
            ReadinessStatus::Unready
        } else {
            ReadinessStatus::Ready
        };
        ReadinessReport { status, checks }
    }

    /// Asks every check, unless that was done just before.
    async fn ask(&self) -> Vec<CheckReport> {
        let mut last = self.0.last.lock().await;
        let checks = self.0.checks.read().clone();
        // A check that was added since counts at once.
        let known = last.as_ref().filter(|last| last.checks.len() == checks.len() && last.is_fresh());
        if let Some(known) = known {
            return known.checks.clone();
        }
        // Probes come every few seconds for ever: they must not fill the traces, nor the log.
        let checks = join_all(checks.iter().map(Check::report)).with_subscriber(Dispatch::none()).await;
        *last = Some(Answer { checks: checks.clone(), at: Instant::now() });
        checks
    }

    /// Returns when the process is ready; never once it stops.
    pub async fn wait_until_ready(&self) {
        while self.report().await.status != ReadinessStatus::Ready {
            sleep(POLL).await;
        }
    }

    pub(crate) fn stop(&self) {
        self.0.stopping.store(true, Ordering::Release);
    }
}

impl Answer {
    fn is_fresh(&self) -> bool {
        let remembered = if is_unmet(&self.checks) { UNMET_REMEMBERED } else { REMEMBERED };
        self.at.elapsed() < remembered
    }
}

fn is_unmet(checks: &[CheckReport]) -> bool {
    checks.is_empty() || checks.iter().any(|check| check.required && !check.ok)
}

impl Check {
    async fn report(&self) -> CheckReport {
        let outcome = timeout(CHECK_TIMEOUT, (self.ask)())
            .await
            .unwrap_or_else(|_| Err(format!("no answer within {} ms", CHECK_TIMEOUT.as_millis())));
        let detail = outcome.err().map(|detail| telemetry::redact(&detail).into_owned());
        CheckReport { name: self.name, required: self.required, ok: detail.is_none(), detail }
    }
}

impl fmt::Debug for Readiness {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Readiness").finish_non_exhaustive()
    }
}

/// The answer of `/readyz`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct ReadinessReport {
    /// The sum of it.
    pub status: ReadinessStatus,
    /// Every check.
    pub checks: Vec<CheckReport>,
}

/// Whether requests should be sent here.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum ReadinessStatus {
    /// Yes.
    Ready,
    /// Not now.
    Unready,
    /// Not any more.
    Stopping,
}

/// One check of `/readyz`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct CheckReport {
    /// What was checked.
    pub name: &'static str,
    /// Whether the process is unready without it.
    pub required: bool,
    /// Whether it succeeded.
    pub ok: bool,
    /// What is wrong.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub detail: Option<String>,
}

impl ReadinessReport {
    /// The required checks that failed, for a log line.
    pub(crate) fn unmet(&self) -> String {
        let unmet = self.checks.iter().filter(|check| check.required && !check.ok);
        let reasons: Vec<String> = unmet
            .map(|check| format!("{}: {}", check.name, check.detail.as_deref().unwrap_or("failed")))
            .collect();
        if self.checks.is_empty() { "starting".to_owned() } else { reasons.join("; ") }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::AtomicUsize;

    use tokio::time::advance;

    use super::*;

    #[tokio::test]
    async fn only_required_checks_make_it_unready() {
        let readiness = Readiness::new();
        assert_eq!(readiness.report().await.status, ReadinessStatus::Unready);
        let up = Arc::new(AtomicBool::new(false));
        let flag = Arc::clone(&up);
        readiness.observe("broker", || Box::pin(async { Err("amqp://u:secret@b is away".to_owned()) }));
        readiness.require("postgres", move || {
            let up = flag.load(Ordering::Acquire);
            Box::pin(async move { if up { Ok(()) } else { Err("away".to_owned()) } })
        });
        let report = readiness.report().await;
        assert_eq!(report.unmet(), "postgres: away");
        let json = serde_json::to_value(&report).unwrap();
        assert_eq!(
            json,
            serde_json::json!({"status": "unready", "checks": [
                {"name": "broker", "required": false, "ok": false, "detail": "amqp://[redacted]@b is away"},
                {"name": "postgres", "required": true, "ok": false, "detail": "away"},
            ]})
        );
        up.store(true, Ordering::Release);
        readiness.wait_until_ready().await;
        readiness.stop();
        assert_eq!(readiness.report().await.status, ReadinessStatus::Stopping);
    }

    #[tokio::test(start_paused = true)]
    async fn many_who_ask_are_told_the_same_and_what_is_new_soon() {
        let readiness = Readiness::new();
        let (up, asked) = (Arc::new(AtomicBool::new(true)), Arc::new(AtomicUsize::new(0)));
        let (flag, count) = (Arc::clone(&up), Arc::clone(&asked));
        readiness.require("postgres", move || {
            count.fetch_add(1, Ordering::AcqRel);
            let up = flag.load(Ordering::Acquire);
            Box::pin(async move {
                sleep(Duration::from_millis(10)).await;
                if up { Ok(()) } else { Err("away".to_owned()) }
            })
        });
        let told = async || (readiness.report().await.status, asked.load(Ordering::Acquire));
        for report in join_all((0..100).map(|_| readiness.report())).await {
            assert_eq!(report.status, ReadinessStatus::Ready);
        }
        up.store(false, Ordering::Release);
        assert_eq!(told().await, (ReadinessStatus::Ready, 1));
        advance(REMEMBERED).await;
        assert_eq!(told().await, (ReadinessStatus::Unready, 2));
        up.store(true, Ordering::Release);
        assert_eq!(told().await, (ReadinessStatus::Unready, 2));
        advance(UNMET_REMEMBERED).await;
        assert_eq!(told().await, (ReadinessStatus::Ready, 3));
        readiness.observe("broker", || Box::pin(async { Ok(()) }));
        assert_eq!(told().await, (ReadinessStatus::Ready, 4));
        readiness.stop();
        assert_eq!(told().await, (ReadinessStatus::Stopping, 4));
    }

    #[tokio::test]
    async fn a_check_that_hangs_has_failed() {
        let readiness = Readiness::new();
        readiness.require("stuck", || Box::pin(std::future::pending()));
        readiness.require("also stuck", || Box::pin(std::future::pending()));
        let started = std::time::Instant::now();
        let report = readiness.report().await;
        assert_eq!(report.status, ReadinessStatus::Unready);
        // Both were asked at the same time.
        assert!(started.elapsed() < CHECK_TIMEOUT * 2);
    }
}
