//! What a server was told to do, and what it has seen.

use std::{
    collections::{HashMap, VecDeque},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use super::{Behaviour, Counts, ReceivedMail, Step};

type Judge = Arc<dyn Fn(&str, usize) -> Behaviour + Send + Sync>;

#[derive(Default)]
pub(super) struct Book(Mutex<Pages>);

#[derive(Default)]
pub(super) struct Pages {
    pub queue: VecDeque<Behaviour>,
    pub recipients: HashMap<String, Behaviour>,
    pub domains: HashMap<String, Behaviour>,
    pub judge: Option<Judge>,
    attempts: HashMap<String, usize>,
    pub mails: Vec<ReceivedMail>,
    pub commands: Vec<String>,
    pub counts: Counts,
    pub concurrency: HashMap<String, Concurrency>,
}

#[derive(Default)]
pub(super) struct Concurrency {
    now: usize,
    pub most: usize,
}

impl Book {
    pub(super) fn lock(&self) -> MutexGuard<'_, Pages> {
        // A test that panicked must not hide why.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Pages {
    /// The first of the queue, if it waits for this step.
    pub(super) fn queued(&mut self, step: Step) -> Option<Behaviour> {
        let waits_for_this = self.queue.front().is_some_and(|first| first.step() == step);
        waits_for_this.then(|| self.queue.pop_front()).flatten()
    }

    /// What is said about a connection.
    pub(super) fn for_connection(&mut self, step: Step) -> Option<Behaviour> {
        let queued = self.queued(step);
        let default = || self.judge.as_ref().map(|judge| judge("", 0));
        queued.or_else(default).filter(|behaviour| behaviour.concerns(step))
    }

    /// What is said about mails to a recipient, who has been named once more.
    pub(super) fn for_mail(&mut self, to: &str) -> Behaviour {
        let to = to.to_ascii_lowercase();
        let attempt = self.attempts.entry(to.clone()).or_default();
        let number = *attempt;
        *attempt += 1;
        let said = self.recipients.get(&to).or_else(|| self.domains.get(domain(&to))).cloned();
        said.or_else(|| self.judge.clone().map(|judge| judge(&to, number))).unwrap_or(Behaviour::Accept)
    }

    pub(super) fn mail_begins(&mut self, to: &str) {
        let concurrency = self.concurrency.entry(domain(&to.to_ascii_lowercase()).to_owned()).or_default();
        concurrency.now += 1;
        concurrency.most = concurrency.most.max(concurrency.now);
    }

    pub(super) fn mail_ends(&mut self, to: &str) {
        if let Some(concurrency) = self.concurrency.get_mut(domain(&to.to_ascii_lowercase())) {
            concurrency.now = concurrency.now.saturating_sub(1);
        }
    }

    pub(super) fn forget_orders(&mut self) {
        self.queue.clear();
        self.recipients.clear();
        self.domains.clear();
        self.judge = None;
    }
}

fn domain(address: &str) -> &str {
    address.rsplit_once('@').map_or(address, |(_, domain)| domain)
}
