//! Brings refused calls to the audit log.

use std::time::Duration;

use clock::SharedClock;
use pg::Database;
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;
use tracing::warn;

use super::facts;

/// More refused calls at once than this are counted and not told one by one.
const QUEUE: usize = 256;
const RETRY: Duration = Duration::from_secs(1);

/// Takes note of refused calls; never waits.
#[derive(Clone)]
pub struct DeniedCalls(mpsc::Sender<DeniedCall>);

struct DeniedCall {
    caller: String,
    method: String,
}

/// Stores the notes.
pub struct DeniedCallsWriter(mpsc::Receiver<DeniedCall>);

pub fn channel() -> (DeniedCalls, DeniedCallsWriter) {
    let (sender, receiver) = mpsc::channel(QUEUE);
    (DeniedCalls(sender), DeniedCallsWriter(receiver))
}

impl DeniedCalls {
    pub fn note(&self, caller: String, method: &str) {
        if self.0.try_send(DeniedCall { caller, method: method.to_owned() }).is_err() {
            warn!("A refused call of {method} is not told to the audit log: too many are waiting");
        }
    }
}

impl DeniedCallsWriter {
    /// Stores notes until `stop`; while the database is away they wait.
    pub async fn run(
        mut self,
        database: Database,
        clock: SharedClock,
        wake: outbox::Wake,
        stop: CancellationToken,
    ) {
        while let Some(Some(call)) = stop.run_until_cancelled(self.0.recv()).await {
            while let Err(error) = store(&database, &clock, &call).await {
                warn!(error = &error as &dyn std::error::Error, "A refused call is not stored yet");
                if stop.run_until_cancelled(tokio::time::sleep(RETRY)).await.is_none() {
                    return;
                }
            }
            wake.wake();
        }
    }
}

async fn store(database: &Database, clock: &SharedClock, call: &DeniedCall) -> pg::Result<()> {
    let fact = facts::access_denied(&call.caller, &call.method, &**clock);
    let mut conn = database.connection().await?;
    outbox::append_fact(&mut conn, fact).await
}
