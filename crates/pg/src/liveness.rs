//! Which connections of the pool can be handed out without asking the server first.

use std::time::{Duration, Instant};

use deadpool::managed::{Hook, HookError, HookResult, Metrics};
use diesel_async::{
    AsyncPgConnection, SimpleAsyncConnection,
    pooled_connection::{AsyncDieselConnectionManager, PoolError},
};
use futures::FutureExt;
use tokio::{sync::watch, time::timeout};

/// After how long without a checkout a connection has to answer before it is handed out again: it was idle, or whoever
/// had it last waited for long and perhaps in vain. A busy pool asks at most this often per connection.
const ASKED_AFTER: Duration = Duration::from_secs(1);

/// Asks connections that were away for a while whether they still live, for at most `patience`.
///
/// A connection whose server is gone without a word (a failover, a firewall that forgot it) looks like any other. The first
/// that does not answer condemns all that are as old, so that a whole pool of them costs `patience` once.
pub(crate) fn ask_before_reuse(patience: Duration) -> Hook<AsyncDieselConnectionManager<AsyncPgConnection>> {
    let condemned = watch::Sender::new(None);
    Hook::async_fn(move |connection: &mut AsyncPgConnection, metrics: &Metrics| {
        let condemned = condemned.clone();
        async move { ask(connection, metrics, patience, &condemned).await }.boxed()
    })
}

async fn ask(
    connection: &mut AsyncPgConnection,
    metrics: &Metrics,
    patience: Duration,
    condemned: &watch::Sender<Option<Instant>>,
) -> HookResult<PoolError> {
    if condemned.borrow().is_some_and(|until| metrics.created <= until) {
        return Err(HookError::message("another connection of its age did not answer"));
    }
    if metrics.last_used() < ASKED_AFTER {
        return Ok(());
    }
    let asked = Instant::now();
    match timeout(patience, connection.batch_execute("SELECT 1")).await {
        Ok(Ok(())) => Ok(()),
        // It said that it cannot be used; the others can speak for themselves.
        Ok(Err(error)) => Err(HookError::Backend(PoolError::QueryError(error))),
        Err(_) => {
            condemned.send_replace(Some(asked));
            Err(HookError::message("the connection does not answer"))
        }
    }
}
