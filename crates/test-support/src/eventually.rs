use std::time::Duration;

use tokio::time::{Instant, sleep};

/// How long the probe rests. Short, because most conditions come about within a few of these.
const REST: Duration = Duration::from_millis(20);

/// Asks `probe` until it answers `Some`, or panics after `deadline`, naming `what` it waited for.
pub async fn eventually<T>(what: &str, deadline: Duration, mut probe: impl AsyncFnMut() -> Option<T>) -> T {
    let end = Instant::now() + deadline;
    loop {
        if let Some(found) = probe().await {
            return found;
        }
        assert!(Instant::now() < end, "waited {deadline:?} in vain for {what}");
        sleep(REST).await;
    }
}
