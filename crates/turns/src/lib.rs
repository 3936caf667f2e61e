#![doc = include_str!("../README.md")]
#![warn(missing_docs)]

use std::{
    collections::HashMap,
    hash::Hash,
    sync::{Arc, Weak},
};

use parking_lot::Mutex;
use tokio::sync::{Mutex as AsyncMutex, OwnedMutexGuard};

/// Turns that nobody holds are forgotten when this many more have come.
const FORGET_AFTER: usize = 1024;

/// One queue for each key that is in demand.
#[derive(Debug)]
pub struct Turns<K>(Mutex<Queues<K>>);

/// A turn; it ends when this is dropped.
pub type Turn = OwnedMutexGuard<()>;

#[derive(Debug)]
struct Queues<K> {
    by_key: HashMap<K, Weak<AsyncMutex<()>>>,
    added: usize,
}

impl<K> Default for Turns<K> {
    fn default() -> Self {
        Self(Mutex::new(Queues { by_key: HashMap::new(), added: 0 }))
    }
}

impl<K: Eq + Hash> Turns<K> {
    /// Waits until it is the caller's turn at `key`, first come, first served. Take it before a connection.
    pub async fn take(&self, key: K) -> Turn {
        let queue = self.0.lock().of(key);
        queue.lock_owned().await
    }
}

impl<K: Eq + Hash> Queues<K> {
    fn of(&mut self, key: K) -> Arc<AsyncMutex<()>> {
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
        let (one, other) = (1, 2);
        let held = turns.take(one).await;
        assert!(turns.take(one).now_or_never().is_none());
        assert!(turns.take(other).now_or_never().is_some());
        drop(held);
        assert!(turns.take(one).now_or_never().is_some());
    }

    #[tokio::test]
    async fn turns_that_nobody_holds_are_forgotten_and_others_are_not() {
        let turns = Turns::default();
        let held = turns.take(0).await;
        for key in 1..=3 * FORGET_AFTER {
            turns.take(key).await;
        }
        assert!(turns.0.lock().by_key.len() <= FORGET_AFTER + 1);
        assert!(turns.take(0).now_or_never().is_none());
        drop(held);
    }
}
