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
/// How long what waits may still be stored after the process was told to stop.
const DRAIN: Duration = Duration::from_secs(5);
/// A caller may ask for a path of many kilobytes, and the audit log takes no such fact. Our methods are shorter.
const MAX_METHOD_BYTES: usize = 128;

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
        let (method, _) = method.split_at(method.floor_char_boundary(MAX_METHOD_BYTES));
        if self.0.try_send(DeniedCall { caller, method: method.to_owned() }).is_err() {
            warn!("A refused call of {method} is not told to the audit log: too many are waiting");
        }
    }
}

impl DeniedCallsWriter {
    /// Stores notes until nobody can take any more, or until soon after `stop`.
    pub async fn run(
        self,
        database: Database,
        clock: SharedClock,
        wake: outbox::Wake,
        stop: CancellationToken,
    ) {
        let deadline = async {
            stop.cancelled().await;
            tokio::time::sleep(DRAIN).await;
        };
        tokio::select! {
            () = self.store_all(&database, &clock, &wake) => (),
            () = deadline => (),
        }
    }

    /// While the database is away the notes wait.
    async fn store_all(mut self, database: &Database, clock: &SharedClock, wake: &outbox::Wake) {
        while let Some(call) = self.0.recv().await {
            while let Err(error) = store(database, clock, &call).await {
                warn!(error = &error as &dyn std::error::Error, "A refused call is not stored yet");
                tokio::time::sleep(RETRY).await;
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

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use clock::SystemClock;
    use diesel_async::RunQueryDsl;
    use test_support::TestDatabase;

    use super::*;

    #[test]
    fn a_long_path_is_cut() {
        let (calls, mut writer) = channel();
        calls.note("mailer".to_owned(), &format!("/{}", "ä".repeat(8_000)));
        calls.note("mailer".to_owned(), "/package.Service/Method");
        assert_eq!(writer.0.try_recv().unwrap().method, format!("/{}", "ä".repeat(63)));
        assert_eq!(writer.0.try_recv().unwrap().method, "/package.Service/Method");
    }

    #[tokio::test(flavor = "multi_thread")]
    async fn what_waits_when_the_process_stops_is_stored() {
        let test_database = TestDatabase::new("session", crate::migrations()).await;
        let database = test_database.database("test");
        let (calls, writer) = channel();
        for _ in 0..3 {
            calls.note("mailer".to_owned(), "/package.Service/Method");
        }
        drop(calls);
        let stop = CancellationToken::new();
        stop.cancel();
        writer.run(database.clone(), Arc::new(SystemClock), outbox::Wake::default(), stop).await;
        let mut conn = database.connection().await.unwrap();
        assert_eq!(diesel::sql_query("DELETE FROM outbox").execute(&mut conn).await.unwrap(), 3);
    }
}
