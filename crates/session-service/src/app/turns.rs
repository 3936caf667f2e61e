//! Lets what changes the same row go one at a time within this process. The row's lock decides; but whoever waits for that
//! holds a connection, and a burst on one session would take them all.

use std::{
    collections::HashMap,
    sync::{Arc, Weak},
};

use auth_ids::Uuid;
use parking_lot::Mutex;
use tokio::sync::{Mutex as AsyncMutex, OwnedMutexGuard};

/// Turns that nobody holds are forgotten when this many more have come.
const FORGET_AFTER: usize = 1024;

/// One queue for each key that is in demand.
#[derive(Debug, Default)]
pub struct Turns(Mutex<Queues>);

#[derive(Debug, Default)]
struct Queues {
    by_key: HashMap<Uuid, Weak<AsyncMutex<()>>>,
    added: usize,
}

impl Turns {
    /// Waits until it is the caller's turn at `key`; the turn ends with the guard. Take it before a connection.
    pub async fn take(&self, key: Uuid) -> OwnedMutexGuard<()> {
        let queue = self.0.lock().of(key);
        queue.lock_owned().await
    }
}

impl Queues {
    fn of(&mut self, key: Uuid) -> Arc<AsyncMutex<()>> {
        if let Some(queue) = self.by_key.get(&key).and_then(Weak::upgrade) {
            return queue;
        }
        if self.added >= FORGET_AFTER {
            self.by_key.retain(|_, queue| queue.strong_count() > 0);
            self.added = 0;
        }
        self.added += 1;
        let queue = Arc::default();
        self.by_key.insert(key, Arc::downgrade(&queue));
        queue
    }
}

#[cfg(test)]
mod tests {
    use futures::FutureExt;

    use super::*;

    #[tokio::test]
    async fn a_turn_is_waited_for_only_at_the_same_key() {
        let turns = Turns::default();
        let (one, other) = (Uuid::from_u128(1), Uuid::from_u128(2));
        let held = turns.take(one).await;
        assert!(turns.take(one).now_or_never().is_none());
        assert!(turns.take(other).now_or_never().is_some());
        drop(held);
        assert!(turns.take(one).now_or_never().is_some());
    }

    #[tokio::test]
    async fn turns_that_nobody_holds_are_forgotten_and_others_are_not() {
        let turns = Turns::default();
        let held = turns.take(Uuid::nil()).await;
        for key in 1..=3 * FORGET_AFTER as u128 {
            turns.take(Uuid::from_u128(key)).await;
        }
        assert!(turns.0.lock().by_key.len() <= FORGET_AFTER + 1);
        assert!(turns.take(Uuid::nil()).now_or_never().is_none());
        drop(held);
    }
}
