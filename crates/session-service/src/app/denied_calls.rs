//! Brings refused calls to the audit log.

use std::{collections::HashMap, sync::Arc, time::Duration};

use chrono::{DateTime, TimeDelta, Utc};
use clock::SharedClock;
use parking_lot::Mutex;
use pg::Database;
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;
use tracing::warn;

use super::facts;

/// More refused calls at once than this are counted and not told one by one.
const QUEUE: usize = 256;
/// Whoever is refused must not be able to fill the audit log: the same caller's calls of the same method are told no more often than this.
const TOLD_AGAIN_AFTER: TimeDelta = TimeDelta::minutes(1);
/// More callers and methods than this are not told in that time. The paths are the callers' choice, and each is remembered.
const REMEMBERED: usize = 1024;
const RETRY: Duration = Duration::from_secs(1);
/// How long what waits may still be stored after the process was told to stop.
const DRAIN: Duration = Duration::from_secs(5);
/// A caller may ask for a path of many kilobytes, and the audit log takes no such fact. Our methods are shorter.
const MAX_METHOD_BYTES: usize = 128;

/// Takes note of refused calls; never waits.
#[derive(Clone)]
pub struct DeniedCalls {
    queue: mpsc::Sender<DeniedCall>,
    /// When each was told.
    told: Arc<Mutex<HashMap<DeniedCall, DateTime<Utc>>>>,
    clock: SharedClock,
}

#[derive(Clone, PartialEq, Eq, Hash)]
struct DeniedCall {
    caller: String,
    method: String,
}

/// Stores the notes.
pub struct DeniedCallsWriter(mpsc::Receiver<DeniedCall>);

pub fn channel(clock: SharedClock) -> (DeniedCalls, DeniedCallsWriter) {
    let (queue, receiver) = mpsc::channel(QUEUE);
    (DeniedCalls { queue, told: Arc::default(), clock }, DeniedCallsWriter(receiver))
}

impl DeniedCalls {
    /// Has the call told, unless the same one was told just before.
    pub fn note(&self, caller: String, method: &str) {
        let (method, _) = method.split_at(method.floor_char_boundary(MAX_METHOD_BYTES));
        let call = DeniedCall { caller, method: method.to_owned() };
        let now = self.clock.now();
        let mut told = self.told.lock();
        if told.get(&call).is_some_and(|at| now - *at < TOLD_AGAIN_AFTER) {
            return;
        }
        if told.len() >= REMEMBERED {
            told.retain(|_, at| now - *at < TOLD_AGAIN_AFTER);
        }
        if told.len() < REMEMBERED && self.queue.try_send(call.clone()).is_ok() {
            told.insert(call, now);
        } else {
            warn!("A refused call of {method} is not told to the audit log: there are too many");
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
    use std::iter;

    use clock::{ManualClock, SystemClock};
    use diesel_async::RunQueryDsl;
    use test_support::TestDatabase;

    use super::*;

    #[test]
    fn a_long_path_is_cut() {
        let (calls, mut writer) = channel(Arc::new(SystemClock));
        calls.note("mailer".to_owned(), &format!("/{}", "ä".repeat(8_000)));
        calls.note("mailer".to_owned(), "/package.Service/Method");
        assert_eq!(writer.0.try_recv().unwrap().method, format!("/{}", "ä".repeat(63)));
        assert_eq!(writer.0.try_recv().unwrap().method, "/package.Service/Method");
    }

    #[test]
    fn a_call_is_told_once_a_minute_and_so_are_no_more_than_the_limit() {
        let clock = Arc::new(ManualClock::new(DateTime::UNIX_EPOCH));
        let (calls, mut writer) = channel(clock.clone());
        let mut told = || iter::from_fn(|| writer.0.try_recv().ok()).count();
        let note = |caller: &str| calls.note(caller.to_owned(), "/package.Service/Method");
        for caller in ["mailer", "mailer", "internal"] {
            note(caller);
        }
        assert_eq!(told(), 2);
        clock.advance(TimeDelta::seconds(59));
        note("mailer");
        assert_eq!(told(), 0);
        clock.advance(TimeDelta::seconds(1));
        note("mailer");
        assert_eq!(told(), 1);

        let mut flood = 0;
        for number in 0..2 * REMEMBERED {
            calls.note("mailer".to_owned(), &format!("/package.Service/{number}"));
            flood += told();
        }
        assert_eq!(flood, REMEMBERED - 1);
        assert_eq!(calls.told.lock().len(), REMEMBERED);
        clock.advance(TOLD_AGAIN_AFTER);
        note("mailer");
        assert_eq!((told(), calls.told.lock().len()), (1, 1));
    }

    #[tokio::test(flavor = "multi_thread")]
    async fn what_waits_when_the_process_stops_is_stored() {
        let test_database = TestDatabase::new("session", crate::migrations()).await;
        let database = test_database.database("test");
        let (calls, writer) = channel(Arc::new(SystemClock));
        for method in ["/package.Service/One", "/package.Service/Two", "/package.Service/Three"] {
            calls.note("mailer".to_owned(), method);
        }
        drop(calls);
        let stop = CancellationToken::new();
        stop.cancel();
        writer.run(database.clone(), Arc::new(SystemClock), outbox::Wake::default(), stop).await;
        let mut conn = database.connection().await.unwrap();
        assert_eq!(diesel::sql_query("DELETE FROM outbox").execute(&mut conn).await.unwrap(), 3);
    }
}
