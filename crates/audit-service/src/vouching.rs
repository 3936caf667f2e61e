//! The background work that keeps the log provable: checkpoints, partitions, and what is to be forgotten.

use std::{
    sync::{
        Arc,
        atomic::{AtomicI64, Ordering},
    },
    time::Duration,
};

use clock::{Clock, SystemClock};
use service_runtime::CancellationToken;
use tokio::{sync::Notify, time::sleep};
use tracing::{error, info, warn};

use crate::{
    app::{AuditLog, Notary, SignError, Signed},
    metrics::Metrics,
};

/// How often the log is looked at while little happens in it.
const LOOK: Duration = Duration::from_secs(5);
/// How long a signer waits after a failure.
const PAUSE: Duration = Duration::from_secs(10);
/// So many rows are worth a look at once.
const ROWS: i64 = 1_000;
/// How often partitions are looked after.
const RETAIN: Duration = Duration::from_hours(1);
/// How soon again after a failure.
const RETAIN_AGAIN: Duration = Duration::from_mins(1);
/// How often it is asked what never arrived.
const LOOK_FOR_ABSENCES: Duration = Duration::from_mins(1);
/// For so many months after this one there are partitions.
pub const MONTHS_AHEAD: i32 = 3;

/// Tells the signer of new rows. Clones tell the same one.
#[derive(Debug, Clone, Default)]
pub struct NewRows {
    count: Arc<AtomicI64>,
    many: Arc<Notify>,
}

impl NewRows {
    /// So many were added.
    pub fn add(&self, rows: usize) {
        let rows = i64::try_from(rows).unwrap_or(i64::MAX);
        if self.count.fetch_add(rows, Ordering::Relaxed).saturating_add(rows) >= ROWS {
            self.many.notify_one();
        }
    }

    /// Returns when there are many, or some time has passed.
    async fn wait(&self) {
        tokio::select! {
            () = self.many.notified() => {}
            () = sleep(LOOK) => {}
        }
        self.count.store(0, Ordering::Relaxed);
    }
}

/// Signs where the log ends, every thousand rows and every minute in which it grew.
pub async fn sign(notary: Notary, new_rows: NewRows, metrics: Metrics, stop: CancellationToken) {
    if !notary.signs() {
        info!("Sign no checkpoints: there is no AUDIT_CHECKPOINT_KEY");
        return;
    }
    // What an earlier process signed and did not bring to the archive.
    let mut is_behind = true;
    loop {
        let outcome = async {
            if is_behind {
                notary.bring_to_archive().await?;
            }
            notary.sign_if_due().await
        };
        let Some(outcome) = stop.run_until_cancelled(outcome).await else { return };
        is_behind = outcome.is_err();
        match outcome {
            Ok(Signed::Checkpoint { seq, .. }) => metrics.checkpoint_seq.set(seq),
            Ok(Signed::Nothing) => {}
            Err(failure) => {
                metrics.checkpoint_failures.with_label_values(&[reason(&failure)]).inc();
                let cause: &dyn std::error::Error = &failure;
                if matches!(failure, SignError::RolledBack { .. }) {
                    error!(error = cause, "Sign no checkpoints: the log was rolled back or written anew");
                } else {
                    warn!(error = cause, "Signed no checkpoint");
                }
            }
        }
        let pause = async { if is_behind { sleep(PAUSE).await } else { new_rows.wait().await } };
        if stop.run_until_cancelled(pause).await.is_none() {
            return;
        }
    }
}

/// Makes the months ahead, drops those whose time is over, and finishes erasures.
pub async fn retain(notary: Notary, log: AuditLog, stop: CancellationToken) {
    loop {
        let round = async {
            let retained = notary.retain(MONTHS_AHEAD).await.map_err(anyhow::Error::from)?;
            log.finish_erasures().await?;
            log.forget_silent_producers().await?;
            anyhow::Ok(retained)
        };
        let Some(outcome) = stop.run_until_cancelled(round).await else { return };
        let pause = match outcome {
            Ok(retained) => {
                if retained.created > 0 {
                    info!("Made {} partitions for the months ahead", retained.created);
                }
                RETAIN
            }
            Err(failure) => {
                warn!(error = format!("{failure:#}"), "Partitions were not looked after");
                RETAIN_AGAIN
            }
        };
        if stop.run_until_cancelled(sleep(pause)).await.is_none() {
            return;
        }
    }
}

/// Counts what never arrived of connections that are gone, every minute.
pub async fn look_for_absences(log: AuditLog, metrics: Metrics, stop: CancellationToken) {
    while stop.run_until_cancelled(sleep(LOOK_FOR_ABSENCES)).await.is_some() {
        let Some(outcome) = stop.run_until_cancelled(log.note_absences(SystemClock.now())).await else {
            return;
        };
        match outcome {
            Ok(lost) => metrics.count_lost(lost),
            Err(failure) => {
                let cause: &dyn std::error::Error = &failure;
                warn!(error = cause, "Could not look for what never arrived");
            }
        }
    }
}

fn reason(failure: &SignError) -> &'static str {
    match failure {
        SignError::Database(_) => "database",
        SignError::Archive(_) => "archive",
        SignError::RolledBack { .. } => "rolled_back",
        SignError::NoKey => "no_key",
    }
}
