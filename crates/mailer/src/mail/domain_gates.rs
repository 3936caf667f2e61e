use std::{collections::HashMap, sync::Arc, time::Duration};

use auth_events::commands::Lane;
use parking_lot::Mutex;
use tokio::{
    sync::Notify,
    time::{Instant, timeout},
};

use crate::domain::workers::{places_at_a_domain, workers_for_slow_domains};

/// A domain whose mails take longer than this is slow.
const SLOW: Duration = Duration::from_secs(2);
/// How long a mail waits for others to a domain that is not slow.
const QUEUES_FOR: Duration = Duration::from_secs(2);
/// How long a domain counts as slow after the last mail that was.
const SLOW_FOR: Duration = Duration::from_mins(1);

/// Lets so many mails to one domain be under way at a time, so that a domain that is slow does not occupy the workers of all others.
///
/// Who comes too late waits a moment, because most domains are fast; for one that is slow nobody waits: a mail that waits in a worker is a worker that
/// is missing elsewhere. And for the same reason slow domains together never have all workers of a lane.
#[derive(Clone)]
pub struct DomainGates {
    limit: usize,
    workers: u16,
    gates: Arc<Mutex<HashMap<String, Gate>>>,
}

#[derive(Default)]
struct Gate {
    inside: Vec<Inside>,
    /// How many came at all, to tell them apart.
    came: u64,
    slow_until: Option<Instant>,
    waiting: usize,
    left: Arc<Notify>,
}

/// A mail that is under way.
struct Inside {
    number: u64,
    lane: Lane,
    since: Instant,
}

/// The right to talk to a provider about a mail to a domain, until it is dropped.
pub struct Passage {
    gates: DomainGates,
    domain: String,
    number: u64,
}

impl DomainGates {
    /// Up to `limit` mails to each domain at a time, where the most urgent lane has so many workers.
    #[must_use]
    pub fn new(limit: usize, workers: u16) -> Self {
        Self { limit: limit.max(1), workers, gates: Arc::default() }
    }

    /// The right to send a mail of `lane` to `domain`; `None` when too many are under way and will be for a while.
    pub async fn enter(&self, domain: &str, lane: Lane) -> Option<Passage> {
        let end = Instant::now() + QUEUES_FOR;
        let domain = domain.to_ascii_lowercase();
        loop {
            let left = {
                let mut gates = self.gates.lock();
                let is_slow = gates.get(&domain).is_some_and(Gate::is_slow);
                if is_slow && in_slow_ones(&gates, lane) >= workers_for_slow_domains(lane, self.workers) {
                    return None;
                }
                let gate = gates.entry(domain.clone()).or_default();
                if gate.inside.len() < places_at_a_domain(lane, self.limit) {
                    let number = gate.enter(lane);
                    return Some(Passage { gates: self.clone(), domain, number });
                }
                if is_slow {
                    return None;
                }
                gate.waiting += 1;
                Arc::clone(&gate.left).notified_owned()
            };
            let waited = timeout(end.saturating_duration_since(Instant::now()), left).await;
            if let Some(gate) = self.gates.lock().get_mut(&domain) {
                gate.waiting = gate.waiting.saturating_sub(1);
            }
            waited.ok()?;
        }
    }

    fn leave(&self, domain: &str, number: u64) {
        let mut gates = self.gates.lock();
        let Some(gate) = gates.get_mut(domain) else { return };
        gate.leave(number);
        if gate.inside.is_empty() && gate.waiting == 0 && !gate.is_slow() {
            gates.remove(domain);
        }
        if gates.len() > MANY_GATES {
            gates.retain(|_, gate| !gate.inside.is_empty() || gate.waiting > 0 || gate.is_slow());
        }
    }
}

/// How many mails of a lane are under way to domains that are slow.
fn in_slow_ones(gates: &HashMap<String, Gate>, lane: Lane) -> usize {
    let slow = gates.values().filter(|gate| gate.is_slow());
    slow.flat_map(|gate| &gate.inside).filter(|inside| inside.lane == lane).count()
}

/// Slow domains are remembered for a while; from this many on those that are not slow any more are looked for.
const MANY_GATES: usize = 1_000;

impl Gate {
    fn enter(&mut self, lane: Lane) -> u64 {
        self.came += 1;
        self.inside.push(Inside { number: self.came, lane, since: Instant::now() });
        self.came
    }

    fn leave(&mut self, number: u64) {
        if let Some(place) = self.inside.iter().position(|inside| inside.number == number) {
            let Inside { since, .. } = self.inside.swap_remove(place);
            self.slow_until = (since.elapsed() > SLOW).then(|| Instant::now() + SLOW_FOR);
        }
        // All of them: who is woken may be of a lane that has no place yet.
        self.left.notify_waiters();
    }

    /// Whether its last mail was slow, or one is being so right now.
    fn is_slow(&self) -> bool {
        let now = Instant::now();
        self.slow_until.is_some_and(|until| now < until)
            || self.inside.iter().any(|inside| inside.since.elapsed() > SLOW)
    }
}

impl Drop for Passage {
    fn drop(&mut self) {
        self.gates.leave(&self.domain, self.number);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const LANE: Lane = Lane::Security;

    #[tokio::test(start_paused = true)]
    async fn a_fast_domain_is_waited_for_and_a_slow_one_is_not() {
        let gates = DomainGates::new(2, 16);
        let first = gates.enter("Fast.example", LANE).await.unwrap();
        let _second = gates.enter("fast.example", LANE).await.unwrap();
        let third = tokio::join!(gates.enter("fast.example", LANE), async {
            tokio::time::sleep(Duration::from_millis(500)).await;
            drop(first);
        });
        assert!(third.0.is_some());
        tokio::time::sleep(Duration::from_secs(3)).await;
        let before = Instant::now();
        assert!(gates.enter("fast.example", LANE).await.is_none(), "it has become slow");
        assert_eq!(before.elapsed(), Duration::ZERO);
        assert!(gates.enter("other.example", LANE).await.is_some());
    }

    #[tokio::test(start_paused = true)]
    async fn a_domain_is_forgiven_when_it_is_fast_again_and_forgotten() {
        let gates = DomainGates::new(1, 16);
        let slow = gates.enter("a.example", LANE).await.unwrap();
        tokio::time::sleep(Duration::from_secs(9)).await;
        drop(slow);
        let fast = gates.enter("a.example", LANE).await.unwrap();
        assert!(gates.enter("a.example", LANE).await.is_none());
        drop(fast);
        assert!(gates.gates.lock().is_empty());
    }

    #[tokio::test(start_paused = true)]
    async fn nobody_waits_for_ever() {
        let gates = DomainGates::new(1, 16);
        let _inside = gates.enter("a.example", LANE).await.unwrap();
        assert!(gates.enter("a.example", LANE).await.is_none());
        assert_eq!(gates.gates.lock()["a.example"].waiting, 0);
    }

    #[tokio::test(start_paused = true)]
    async fn slow_domains_together_leave_workers_for_the_others() {
        let gates = DomainGates::new(6, 16);
        let mut inside = Vec::new();
        for domain in ["a.example", "b.example", "c.example"] {
            for _ in 0..3 {
                inside.extend(gates.enter(domain, LANE).await);
            }
        }
        tokio::time::sleep(Duration::from_secs(3)).await;
        for domain in ["a.example", "b.example", "c.example"] {
            for _ in 0..3 {
                inside.extend(gates.enter(domain, LANE).await);
            }
        }
        assert_eq!(inside.len(), 12);
        assert!(gates.enter("fast.example", LANE).await.is_some());
        assert!(gates.enter("c.example", Lane::Notice).await.is_some(), "another lane has its own workers");
    }

    #[tokio::test(start_paused = true)]
    async fn mails_that_are_less_urgent_leave_places_at_a_slow_domain_for_urgent_ones() {
        let gates = DomainGates::new(6, 16);
        let mut inside = Vec::new();
        for lane in [Lane::Bulk, Lane::Notice] {
            for _ in 0..4 {
                inside.extend(gates.enter("a.example", lane).await);
            }
        }
        assert_eq!(inside.len(), 4, "two of one lane, four with the other");
        tokio::time::sleep(Duration::from_secs(3)).await;
        assert!(gates.enter("a.example", Lane::Notice).await.is_none());
        inside.extend(gates.enter("a.example", LANE).await);
        inside.extend(gates.enter("a.example", LANE).await);
        assert_eq!(inside.len(), 6);
        assert!(gates.enter("a.example", LANE).await.is_none());
    }
}
