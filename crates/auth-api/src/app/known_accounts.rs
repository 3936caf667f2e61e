//! Accounts as they were read a moment ago, so that showing somebody their own account seldom needs PostgreSQL, and goes on while it is away.

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use auth_ids::UserId;
use parking_lot::Mutex;
use quick_cache::sync::Cache;

use crate::{app::rest::Rest, domain::account::Account};

/// How long an account is shown without being read again: so far may a change lag behind that another replica made.
const FRESH_FOR: Duration = Duration::from_secs(2);
/// How long it may be shown while it cannot be read.
const STALE_FOR: Duration = Duration::from_mins(5);
/// About half a KiB each.
const CAPACITY: usize = 20_000;

/// The accounts that this process knows. Clones know the same.
#[derive(Clone)]
pub struct KnownAccounts(Arc<Memory>);

struct Memory {
    accounts: Cache<UserId, Known>,
    /// How often an account was forgotten. What was read before that may be older than the change.
    forgotten: Mutex<u64>,
    rest: Rest,
}

#[derive(Clone)]
struct Known {
    account: Arc<Account>,
    read_at: Instant,
}

/// How an account is known.
#[derive(Debug, PartialEq, Eq)]
pub enum Knowledge {
    /// It can be shown as it is.
    Fresh(Arc<Account>),
    /// It can be shown if it cannot be read.
    Stale(Arc<Account>),
    /// It has to be read.
    None,
}

/// When reading began, as far as changes are concerned.
pub struct Reading(u64);

impl Default for KnownAccounts {
    fn default() -> Self {
        let accounts = Cache::new(CAPACITY);
        Self(Arc::new(Memory { accounts, forgotten: Mutex::default(), rest: Rest::default() }))
    }
}

impl KnownAccounts {
    /// What is known of `user` at `now`.
    #[must_use]
    pub fn find(&self, user: UserId, now: Instant) -> Knowledge {
        let Some(Known { account, read_at }) = self.0.accounts.get(&user) else { return Knowledge::None };
        let age = now.saturating_duration_since(read_at);
        if age < FRESH_FOR {
            Knowledge::Fresh(account)
        } else if age < STALE_FOR {
            Knowledge::Stale(account)
        } else {
            Knowledge::None
        }
    }

    /// To be called before an account is read that is to be remembered.
    #[must_use]
    pub fn begin_reading(&self) -> Reading {
        Reading(*self.0.forgotten.lock())
    }

    /// Remembers an account that was read at `now`, unless an account changed while it was.
    pub fn remember(&self, reading: &Reading, account: Arc<Account>, now: Instant) {
        let forgotten = self.0.forgotten.lock();
        if *forgotten == reading.0 {
            self.0.accounts.insert(account.id, Known { account, read_at: now });
        }
    }

    /// To be called once a change of the account is committed: whoever made it sees it from now on.
    pub fn forget(&self, user: UserId) {
        let mut forgotten = self.0.forgotten.lock();
        *forgotten += 1;
        self.0.accounts.remove(&user);
    }

    /// Whether accounts can be read at all, as far as was noticed.
    #[must_use]
    pub fn rest(&self) -> &Rest {
        &self.0.rest
    }
}

#[cfg(test)]
mod tests {
    use auth_events::commands::Locale;
    use auth_ids::{GenericUuid, Uuid};
    use chrono::DateTime;

    use super::*;
    use crate::domain::{email_address::EmailAddress, user::UserStatus};

    fn account() -> Arc<Account> {
        Arc::new(Account {
            id: UserId::from_untyped_uuid(Uuid::from_u128(7)),
            email: EmailAddress::parse("ada@example.test").unwrap(),
            status: UserStatus::Active,
            display_name: None,
            locale: Locale::default(),
            roles: vec![],
            created_at: DateTime::UNIX_EPOCH,
            mfa_enabled: false,
        })
    }

    #[test]
    fn an_account_is_fresh_for_seconds_and_better_than_nothing_for_minutes() {
        let (known, account, read_at) = (KnownAccounts::default(), account(), Instant::now());
        assert_eq!(known.find(account.id, read_at), Knowledge::None);
        known.remember(&known.begin_reading(), Arc::clone(&account), read_at);
        let after = |age| known.find(account.id, read_at + age);
        assert_eq!(after(Duration::from_millis(1_999)), Knowledge::Fresh(Arc::clone(&account)));
        assert_eq!(after(FRESH_FOR), Knowledge::Stale(Arc::clone(&account)));
        assert_eq!(after(STALE_FOR), Knowledge::None);
    }

    #[test]
    fn what_was_read_while_something_changed_is_not_remembered() {
        let (known, account, now) = (KnownAccounts::default(), account(), Instant::now());
        let reading = known.begin_reading();
        known.forget(account.id);
        known.remember(&reading, Arc::clone(&account), now);
        assert_eq!(known.find(account.id, now), Knowledge::None);
        known.remember(&known.begin_reading(), Arc::clone(&account), now);
        known.forget(account.id);
        assert_eq!(known.find(account.id, now), Knowledge::None);
    }
}
