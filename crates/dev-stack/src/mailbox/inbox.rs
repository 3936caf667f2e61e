use std::collections::VecDeque;

use parking_lot::Mutex;
use tokio::sync::watch;
use uuid::Uuid;

use super::{SmtpFault, StoredMail};

/// Enough for any test and for weeks of development; the oldest go first.
const CAPACITY: usize = 5_000;

/// What arrived, in memory.
#[derive(Debug)]
pub(super) struct Inbox {
    mails: Mutex<VecDeque<(StoredMail, Vec<u8>)>>,
    fault: Mutex<Option<SmtpFault>>,
    arrivals: watch::Sender<u64>,
}

impl Default for Inbox {
    fn default() -> Self {
        Self { mails: Mutex::default(), fault: Mutex::default(), arrivals: watch::Sender::new(0) }
    }
}

impl Inbox {
    pub(super) fn store(&self, mail: StoredMail, source: Vec<u8>) {
        let mut mails = self.mails.lock();
        mails.push_front((mail, source));
        mails.truncate(CAPACITY);
        drop(mails);
        self.arrivals.send_modify(|count| *count += 1);
    }

    /// Newest first; all of them without an address.
    pub(super) fn to(&self, address: Option<&str>) -> Vec<StoredMail> {
        let mails = self.mails.lock();
        let wanted = mails.iter().filter(|(mail, _)| address.is_none_or(|address| is_to(mail, address)));
        wanted.map(|(mail, _)| mail.clone()).collect()
    }

    pub(super) async fn newest_to(&self, address: &str) -> StoredMail {
        let mut arrivals = self.arrivals.subscribe();
        loop {
            arrivals.mark_unchanged();
            if let Some((mail, _)) = self.mails.lock().iter().find(|(mail, _)| is_to(mail, address)) {
                return mail.clone();
            }
            // The sender lives in `self`, so this cannot fail.
            if arrivals.changed().await.is_err() {
                std::future::pending::<()>().await;
            }
        }
    }

    pub(super) fn by_id(&self, id: Uuid) -> Option<(StoredMail, Vec<u8>)> {
        self.mails.lock().iter().find(|(mail, _)| mail.id == id).cloned()
    }

    /// Forgets the mails for an address, or all of them without one.
    pub(super) fn empty(&self, address: Option<&str>) {
        self.mails.lock().retain(|(mail, _)| address.is_some_and(|address| !is_to(mail, address)));
    }

    pub(super) fn set_fault(&self, fault: Option<SmtpFault>) {
        *self.fault.lock() = fault;
    }

    pub(super) fn fault(&self) -> Option<SmtpFault> {
        *self.fault.lock()
    }
}

fn is_to(mail: &StoredMail, address: &str) -> bool {
    let address = address.to_lowercase();
    mail.to.iter().any(|to| to.to_lowercase() == address)
}
